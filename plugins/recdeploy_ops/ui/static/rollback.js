// Roll production back to an earlier version.

import { Section, h, short } from "./parts.js";
import { TriggerForm, dagOf } from "./triggers.js";

const { React, ChakraUI } = globalThis;
const { Field, NativeSelect, Text } = ChakraUI;

export function RollBack({ dagId, overview, reload }) {
  const choices = overview.versions.filter((version) => version.can_be_restored);
  const [version, setVersion] = React.useState("");
  const field = h(Field.Root, { key: "version", required: true },
    h(Field.Label, null, "Version"),
    h(NativeSelect.Root, null,
      h(NativeSelect.Field, { value: version, required: true, onChange: (event) => setVersion(event.target.value) },
        h("option", { value: "" }, "Choose"),
        ...choices.map((choice) => h("option", { key: choice.version, value: choice.version }, `v${choice.version} (${short(choice.digest)})`))),
      h(NativeSelect.Indicator)));
  return h(Section, { title: "Roll back", note: "Production goes back to an earlier version at the same URL. Airflow checks your right to trigger the DAG and keeps its audit log." },
    choices.length === 0
      ? h(Text, null, "Production has no earlier version to go back to.")
      : h(TriggerForm, {
          dag: dagOf(dagId, "rollback"), begun: "The rollback has begun", palette: "red", fields: [field], reload,
          label: version ? `Roll production back to v${version}` : "Roll production back",
          conf: () => (version ? { version: Number(version) } : null) }));
}
