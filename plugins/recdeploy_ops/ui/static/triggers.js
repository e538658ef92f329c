// Trigger a DAG by Airflow's own API, which checks the right to it and keeps its audit log.

import { Run, To, h } from "./parts.js";
import { request } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Button, Field, Stack, Text, Textarea } = ChakraUI;

// The DAG of another kind of the same recommender.
export const dagOf = (retrain, kind) => retrain.replace(/_retrain$/, `_${kind}`);

// What a failed trigger has changed. Only a 4xx says that it is nothing: where the answer was lost, or a proxy answered
// 502 or 504, the run may have begun.
const Failure = ({ dag, error }) =>
  error.status >= 400 && error.status < 500
    ? `Nothing was changed. ${error.message}`
    : h("span", null, "Airflow did not answer: the run may have begun. Look at the runs of ", h(To, { path: `/dags/${dag}/runs` }, dag), ` before you try again. ${error.message}`);

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
      setSaid(h(Failure, { dag, error }));
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
