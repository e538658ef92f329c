// What "Promote" does in OCI: the calls in their order, before the click, and afterwards with what happened to each.

import { Mark, Name, Rows, Run, Section, Waiting, h, moment } from "./parts.js";
import { useLoaded, usePolled } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Stack, Text } = ChakraUI;

export const releasePath = (dagId, runId) => `recdeploy/api/release/${dagId}/${encodeURIComponent(runId)}`;

const tail = (target) => (target.length > 16 ? `…${target.slice(-12)}` : target);

export const CallRows = ({ calls }) =>
  h(Rows, {
    caption: "Requests to OCI, in their order.",
    columns: ["Step", "Request", "Of", "What it does", "State"],
    rows: calls.map((call, index) => [
      index + 1, h(Name, null, call.operation),
      call.target ? h("span", { title: call.target }, h(Name, null, tail(call.target))) : "a new deployment", call.what,
      h(Stack, { gap: 1 }, h("span", null, h(Mark, null, call.state)), h(Text, { fontSize: "sm", color: "fg.muted" }, moment(call.at), call.at && call.note ? ": " : "", call.note))]) });

function Shown({ loaded }) {
  const [release, error] = loaded;
  const isPlan = release && release.calls.every((call) => call.state === "planned");
  return h(React.Fragment, null,
    h(Waiting, { value: release, error }),
    release
      ? h(Stack, { gap: 2 },
          h(Text, null, `${isPlan ? "Promoting" : "Promotion of"} v${release.version}: `, h(Run, { dagId: release.dag_id, runId: release.run_id })),
          release.calls.length
            ? h(CallRows, { calls: release.calls })
            : h(Text, null, "The calls are known once the candidate is registered and on its test deployment."),
          release.problem ? h(Text, { role: "alert" }, release.problem) : null)
      : null);
}

const Current = ({ dagId, runId }) => h(Shown, { loaded: usePolled(releasePath(dagId, runId)) });
const Past = ({ dagId, runId }) => h(Shown, { loaded: useLoaded(releasePath(dagId, runId)) });

// The calls of the release in progress, or else of the newest promotion; `dagId` is the page's own, as a release of a
// notebook has none.
export function Promotion({ dagId, overview }) {
  const { release, releases } = overview;
  const isPlanned = release && !release.is_rollback;
  const newest = releases.find((one) => one.purpose === "retrain" && one.outcome === "promoted");
  const shown = isPlanned ? release : newest;
  return h(Section, {
    title: isPlanned ? "What Promote will do" : "What the last promotion did",
    note: "Every request that changes something in OCI, and the answers that must come back. If one fails, the champion is restored.",
  },
    shown
      ? h(isPlanned ? Current : Past, { key: shown.run_id, dagId, runId: shown.run_id })
      : h(Text, null, "Nothing was promoted yet."));
}
