// The versions: their stages, one measure over all of them, and any two side by side.

import { Id, Mark, Report, Rows, Run, Section, Waiting, duration, h, moment, short } from "./parts.js";
import { Plot } from "./plots.js";
import { useLoaded } from "./requests.js";

const { React, ChakraUI } = globalThis;
const { Field, Flex, Heading, NativeSelect, Stack, Text } = ChakraUI;

const Choice = ({ label, value, set, options }) =>
  h(Field.Root, { width: "auto", minW: "10rem" },
    h(Field.Label, null, label),
    h(NativeSelect.Root, null,
      h(NativeSelect.Field, { value, onChange: (event) => set(event.target.value) },
        ...options.map(([key, text]) => h("option", { key, value: key }, text))),
      h(NativeSelect.Indicator)));

export const Versions = ({ versions, reports }) =>
  h(Section, { title: "Versions" },
    h(Rows, {
      caption: "Newest first.",
      columns: ["Version", "Stage", "Gates", "Made", "Digest", "Made by", "Evidence"],
      rows: versions.map((version) => [
        `v${version.version}`, h(Mark, null, version.stage), h(Mark, null, version.verdict), moment(version.made_at),
        h(Id, null, short(version.digest)), h(Run, { dagId: version.dag_id, runId: version.run_id }),
        reports.includes(version.run_id) ? h(Report, { dagId: version.dag_id, runId: version.run_id }) : ""]) }));

// Return when a version was in production, in words.
const served = (version, periods, now) => periods
  .filter((period) => period.serving.version === version)
  .map((period) => `${moment(period.serving.since)}, ${duration(period.serving.since, period.until || now)}`)
  .reverse().join("; ");

export function Measure({ overview }) {
  const { versions, periods, now } = overview;
  const names = [...new Set(versions.flatMap((version) => Object.keys(version.metrics)))].sort();
  const [chosen, setChosen] = React.useState("");
  if (names.length === 0) return null;
  const name = names.includes(chosen) ? chosen : names[0];
  const points = [...versions].reverse().map((version) => {
    const when = served(version.version, periods, now);
    return { label: `v${version.version}`, value: version.metrics[name] ?? null, isMarked: when !== "", note: when ? `in production from ${when}` : "" };
  });
  return h(Section, { title: "One measure over all versions" },
    h(Flex, null, h(Choice, { label: "Measure", value: name, set: setChosen, options: names.map((one) => [one, one]) })),
    h(Plot, { title: `${name} of each version`, columns: ["Version", name, "In production"], points, marked: "A bar: it was or is in production." }));
}

export function SideBySide({ dagId, versions }) {
  const numbers = versions.map((version) => version.version);
  const champion = versions.find((version) => version.stage === "champion");
  const first = numbers[0];
  const usual = champion && champion.version !== first ? champion.version : numbers[1];
  const [one, setOne] = React.useState("");
  const [other, setOther] = React.useState("");
  const left = Number(other) || usual, right = Number(one) || first;
  const [comparison, error] = useLoaded(numbers.length > 1 ? `recdeploy/api/comparison/${dagId}?one=${left}&other=${right}` : null);
  const options = numbers.map((version) => [version, `v${version}`]);
  return h(Section, { title: "Versions side by side", note: "Only what differs." },
    numbers.length > 1
      ? h(Stack, { gap: 4 },
          h(Flex, { gap: 4, wrap: "wrap" },
            h(Choice, { label: "Version", value: left, set: setOther, options }),
            h(Choice, { label: "Beside", value: right, set: setOne, options })),
          h(Waiting, { value: comparison, error }),
          comparison ? comparison.sections.map((section) => h(Stack, { key: section.title, gap: 1 },
            h(Heading, { as: "h3", size: "sm" }, section.title),
            section.rows.length
              ? h(Rows, {
                  caption: `${section.title} that differ: ${section.rows.length} of ${section.rows.length + section.equal}.`,
                  columns: ["Name", `v${comparison.one}`, `v${comparison.other}`],
                  rows: section.rows.map((row) => [row.name, row.one, row.other]) })
              : h(Text, { color: "fg.muted" }, section.equal ? `None of ${section.equal} differs.` : "Nothing is recorded."))) : null)
      : h(Text, null, "Two versions are needed."));
}
