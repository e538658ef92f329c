// Trigger a DAG by Airflow's own API, which checks the right to it and keeps its audit log.

import { Run, h } from "./parts.js";
import { request } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Button, Field, Stack, Text, Textarea } = ChakraUI;

// The DAG of another kind of the same recommender.
export const dagOf = (retrain, kind) => retrain.replace(/_retrain$/, `_${kind}`);

// A form that triggers a DAG with a reason. `fields` come first; `conf` returns the other params, or null while one is missing.
export function TriggerForm({ dag, begun, label, palette, conf, fields = [], reload }) {
  const [reason, setReason] = React.useState("");
  const [said, setSaid] = React.useState(null);
  const [isBusy, setBusy] = React.useState(false);
  const chosen = conf();
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    try {
      const body = JSON.stringify({ logical_date: null, conf: { ...chosen, reason: reason.trim() } });
      const run = await request(`api/v2/dags/${dag}/dagRuns`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      setSaid(h("span", null, `${begun}: `, h(Run, { dagId: dag, runId: run.dag_run_id })));
      setReason("");
      await reload();
    } catch (error) {
      setSaid(`Nothing was changed. ${error.message}`);
    }
    setBusy(false);
  }
  return h(React.Fragment, null,
    h("form", { onSubmit: submit },
      h(Stack, { gap: 3, maxW: "40rem" },
        ...fields,
        h(Field.Root, { required: true },
          h(Field.Label, null, "Reason, shown in the history"),
          h(Textarea, { value: reason, required: true, maxLength: 2000, onChange: (event) => setReason(event.target.value) })),
        h(Button, { type: "submit", colorPalette: palette, alignSelf: "start", disabled: isBusy || !chosen || !reason.trim() }, label))),
    h(Text, { role: "status" }, said));
}
