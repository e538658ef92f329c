// The parts that all sections are made of, in Airflow's own look. React escapes every text, whatever it contains.

import { address } from "./requests.js";

const { React, ChakraUI, ReactRouterDOM } = globalThis;
const { Badge, Box, Button, Card, Code, Flex, Heading, Link, Table, Text } = ChakraUI;
export const h = React.createElement;

const MOST_ROWS = 10; // of a table, before a person asks for all
const OUTSIDE_AIRFLOW = ["", "notebook", "terminal"]; // such a run has no page in Airflow
const COLOURS = {
  champion: "green", PASS: "green", done: "green", healthy: "green", promoted: "green", "rolled back": "green",
  validated: "blue", begun: "blue", progressing: "blue", "in progress": "blue",
  HOLD: "orange", paused: "orange", "not recorded": "orange",
  rejected: "red", FAIL: "red", failed: "red", degraded: "red",
};

export const moment = (text) => (text ? `${text.slice(0, 16).replace("T", " ")} UTC` : "");
export const short = (digest) => (digest ? digest.slice(0, 12) : "unknown");
export const words = (name) => name.replaceAll("_", " ");

// Return how long something lasts, e.g. "3 days".
export function duration(from, to) {
  const minutes = Math.max(0, (new Date(to) - new Date(from)) / 60_000);
  const [number, unit] = minutes < 60 ? [minutes, "minute"] : minutes < 2880 ? [minutes / 60, "hour"] : [minutes / 1440, "day"];
  const whole = Math.floor(number);
  return `${whole} ${unit}${whole === 1 ? "" : "s"}`;
}

export const Id = ({ children }) => h(Code, { whiteSpace: "normal", wordBreak: "break-all" }, children);
export const Name = ({ children }) => h(Code, { whiteSpace: "nowrap" }, children);
export const Mark = ({ children, size = "sm" }) =>
  children ? h(Badge, { size, colorPalette: COLOURS[children] || "gray" }, children) : null;

export const Section = ({ title, children, note, action }) =>
  h(Card.Root, { as: "section", variant: "outline", role: "region", "aria-label": title },
    h(Card.Body, { gap: 3 },
      h(Flex, { justify: "space-between", align: "center", gap: 3, wrap: "wrap" },
        h(Heading, { as: "h2", size: "md" }, title), action || null),
      note ? h(Text, { color: "fg.muted", fontSize: "sm" }, note) : null,
      children));

// A button that loads a section again, and when it was loaded.
export const Again = ({ load, isBusy, at, what }) =>
  h(Flex, { align: "center", gap: 3 },
    at ? h(Text, { color: "fg.muted", fontSize: "sm" }, moment(at)) : null,
    h(Button, { size: "xs", variant: "outline", onClick: load, disabled: isBusy, "aria-label": `Check ${what} again` }, "Check again"));

// What a section says while it loads, or why it cannot.
export const Waiting = ({ value, error }) =>
  error ? h(Text, { role: "alert", color: "fg.error" }, error) : value ? null : h(Text, { role: "status" }, "Loading");

export const Facts = ({ rows }) =>
  h(Box, { as: "dl", display: "grid", gridTemplateColumns: { base: "1fr", md: "max-content 1fr" }, columnGap: 4, rowGap: 1 },
    ...rows.filter(([, value]) => value !== "" && value != null).flatMap(([name, value]) => [
      h(Text, { as: "dt", key: `${name}-name`, color: "fg.muted" }, name),
      h(Box, { as: "dd", key: `${name}-value`, overflowWrap: "anywhere" }, value)]));

// A table whose first column names the row. A long one is folded; a wide one scrolls, also by keyboard.
export function Rows({ caption, columns, rows }) {
  const [isOpen, setOpen] = React.useState(false);
  const shown = isOpen ? rows : rows.slice(0, MOST_ROWS);
  return h(React.Fragment, null,
    h(Box, { overflowX: "auto", tabIndex: 0, role: "group", "aria-label": caption },
      h(Table.Root, { size: "sm" },
        h(Table.Caption, { captionSide: "top", textAlign: "start" }, caption),
        h(Table.Header, null, h(Table.Row, null,
          ...columns.map((column) => h(Table.ColumnHeader, { key: column, scope: "col" }, column)))),
        h(Table.Body, null, ...shown.map((cells, index) => h(Table.Row, { key: index },
          ...cells.map((cell, at) => h(Table.Cell, {
            key: at, overflowWrap: "anywhere", minW: "6.5rem", verticalAlign: "top",
            ...(at === 0 ? { as: "th", scope: "row", textAlign: "start", fontWeight: "medium" } : {}),
          }, cell))))))),
    rows.length > MOST_ROWS
      ? h(Button, { size: "xs", variant: "outline", alignSelf: "start", "aria-expanded": isOpen, onClick: () => setOpen(!isOpen) },
          isOpen ? `Show the first ${MOST_ROWS}` : `Show all ${rows.length}`)
      : null);
}

export const To = ({ path, children }) =>
  h(Link, { asChild: true, colorPalette: "brand", textDecoration: "underline" }, h(ReactRouterDOM.Link, { to: path }, children));

const runPath = (dagId, runId) => `/dags/${dagId}/runs/${encodeURIComponent(runId)}`;
export const Run = ({ dagId, runId }) =>
  OUTSIDE_AIRFLOW.includes(dagId) ? h(Id, null, runId) : h(To, { path: runPath(dagId, runId) }, runId);
export const Answer = ({ dagId, runId }) =>
  OUTSIDE_AIRFLOW.includes(dagId)
    ? `Answer the approval in the ${dagId}`
    : h(To, { path: `${runPath(dagId, runId)}/tasks/request_approval/required_actions` }, "Answer the approval");
export const Report = ({ dagId, runId }) =>
  OUTSIDE_AIRFLOW.includes(dagId) ? null : h(Link, {
    href: address(`recdeploy/report/${dagId}/${encodeURIComponent(runId)}`).href,
    target: "_blank", rel: "noopener", textDecoration: "underline", "aria-label": `Report of ${runId}`,
  }, "Report");
