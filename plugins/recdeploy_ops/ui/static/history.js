// What was in production when, and what each release did.

import { Mark, Report, Rows, Run, Section, h, moment, short, words } from "./parts.js";
import { request } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Field, Input, Text } = ChakraUI;

const describePeriod = (period) => period
  ? `v${period.serving.version} (${short(period.serving.digest)}), from ${moment(period.serving.since)} to ${moment(period.until) || "now"}`
  : "Nothing was known to be in production then.";

export function Then({ dagId, periods }) {
  const [text, setText] = React.useState("");
  const [answer, setAnswer] = React.useState("");
  React.useEffect(() => {
    let isCurrent = true; // an answer to an earlier question may come later
    const show = (said) => { if (isCurrent) setAnswer(said); };
    if (text) {
      request(`recdeploy/api/period/${dagId}?at=${encodeURIComponent(`${text}Z`)}`)
        .then((period) => show(describePeriod(period)), (error) => show(error.message));
    } else {
      show("");
    }
    return () => { isCurrent = false; };
  }, [dagId, text]);
  return h(Section, { title: "What was in production when" },
    h(Field.Root, { maxW: "20rem" },
      h(Field.Label, null, "At (UTC)"),
      h(Input, { type: "datetime-local", value: text, onChange: (event) => setText(event.target.value) })),
    h(Text, { role: "status" }, answer),
    h(Rows, {
      caption: "Newest first. Each period begins when its version was verified.",
      columns: ["Version", "From", "To", "How", "By", "Reason"],
      rows: periods.map((period) => [
        `v${period.serving.version}`, moment(period.serving.since), moment(period.until) || "now",
        words(period.how), period.by, period.reason]) }));
}

export const History = ({ releases, reports }) =>
  h(Section, { title: "History" },
    h(Rows, {
      caption: "Releases and rollbacks, newest first.",
      columns: ["Run", "What", "Version", "Begun", "Outcome", "Triggered by", "Decided by", "Reason", "Evidence"],
      rows: releases.map((release) => [
        h(Run, { dagId: release.dag_id, runId: release.run_id }), release.purpose, `v${release.version}`,
        moment(release.opened_at), h(Mark, null, release.outcome || "in progress"), release.triggered_by || "schedule",
        release.decided_by, release.reason,
        reports.includes(release.run_id) ? h(Report, { dagId: release.dag_id, runId: release.run_id }) : ""]) }));
