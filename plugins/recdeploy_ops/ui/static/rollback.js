// Roll production back: Airflow's own API triggers the DAG, checks the right to it, and keeps its audit log.

import { Run, Section, h, short } from "./parts.js";
import { request } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Button, Field, NativeSelect, Stack, Text, Textarea } = ChakraUI;

const rollbackOf = (dagId) => dagId.replace(/_retrain$/, "_rollback");

export function RollBack({ dagId, overview, reload }) {
  const choices = overview.versions.filter((version) => version.can_be_restored);
  const [version, setVersion] = React.useState("");
  const [reason, setReason] = React.useState("");
  const [said, setSaid] = React.useState(null);
  const [isBusy, setBusy] = React.useState(false);
  const dag = rollbackOf(dagId);
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    try {
      const body = JSON.stringify({ logical_date: null, conf: { version: Number(version), reason: reason.trim() } });
      const run = await request(`api/v2/dags/${dag}/dagRuns`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      setSaid(h("span", null, "The rollback has begun: ", h(Run, { dagId: dag, runId: run.dag_run_id })));
      setReason("");
      await reload();
    } catch (error) {
      setSaid(`Nothing was changed. ${error.message}`);
    }
    setBusy(false);
  }
  return h(Section, { title: "Roll back", note: "Production goes back to an earlier version at the same URL. Airflow checks your right to trigger the DAG and keeps its audit log." },
    choices.length === 0
      ? h(Text, null, "Production has no earlier version to go back to.")
      : h("form", { onSubmit: submit },
          h(Stack, { gap: 3, maxW: "40rem" },
            h(Field.Root, { required: true },
              h(Field.Label, null, "Version"),
              h(NativeSelect.Root, null,
                h(NativeSelect.Field, { value: version, required: true, onChange: (event) => setVersion(event.target.value) },
                  h("option", { value: "" }, "Choose"),
                  ...choices.map((choice) => h("option", { key: choice.version, value: choice.version }, `v${choice.version} (${short(choice.digest)})`))),
                h(NativeSelect.Indicator))),
            h(Field.Root, { required: true },
              h(Field.Label, null, "Reason, shown in the history"),
              h(Textarea, { value: reason, required: true, maxLength: 2000, onChange: (event) => setReason(event.target.value) })),
            h(Button, { type: "submit", colorPalette: "red", alignSelf: "start", disabled: isBusy || !version || !reason.trim() },
              version ? `Roll production back to v${version}` : "Roll production back"))),
    h(Text, { role: "status" }, said));
}
