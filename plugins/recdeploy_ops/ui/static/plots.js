// One number over versions or hours, as inline SVG in Airflow's colours, with the same numbers as a table for everybody.

import { Rows, h } from "./parts.js";

const { ChakraUI } = globalThis;
const { Box } = ChakraUI;

const WIDTH = 720, HEIGHT = 200, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 40, BAR = 6;
const MOST_LABELS = 12;

export const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : "not measured");

// Return about four round numbers around the values.
export function ticks(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const span = high - low || Math.abs(high) || 1;
  const magnitude = 10 ** Math.floor(Math.log10(span / 3));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((size) => span / size <= 4);
  const first = Math.floor(low / step), last = Math.max(Math.ceil(high / step), first + 1);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

// Draw points from left to right; a missing value interrupts the line, and a marked one has a bar below it.
//
// points: [{label, value or null, isMarked, note}]; `marked` says what the bar means.
export function Plot({ title, columns, points, marked }) {
  const known = points.filter((point) => typeof point.value === "number");
  if (known.length === 0) return h(Box, { as: "p" }, `${title}: not measured.`);
  const levels = ticks(known.map((point) => point.value));
  const low = levels[0], high = levels[levels.length - 1];
  const slot = (WIDTH - LEFT - RIGHT) / points.length;
  const x = (index) => LEFT + slot * (index + 0.5);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const every = Math.ceil(points.length / MOST_LABELS);
  const line = points.map((point, index) => (typeof point.value !== "number" ? "" :
    `${index > 0 && typeof points[index - 1].value === "number" ? "L" : "M"}${x(index)} ${y(point.value)}`)).join("");
  return h(Box, { as: "figure" },
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. The table after it has the same numbers.`, style: { width: "100%", maxWidth: "48rem", height: "auto" } },
      h(Box, { as: "g", color: "green.solid" }, ...points.map((point, index) => point.isMarked
        ? h("rect", { key: index, x: LEFT + slot * index + 2, y: HEIGHT - BOTTOM - BAR, width: Math.max(slot - 4, 1), height: BAR, rx: 2, fill: "currentColor" }) : null)),
      h(Box, { as: "g", color: "border", stroke: "currentColor" }, ...levels.map((level) =>
        h("line", { key: level, x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level) }))),
      h(Box, { as: "g", color: "fg.muted", fontSize: "12px", "aria-hidden": true },
        ...levels.map((level) => h("text", { key: level, x: LEFT - 8, y: y(level) + 4, textAnchor: "end", fill: "currentColor" }, number(level))),
        ...points.map((point, index) => index % every === 0
          ? h("text", { key: `x${index}`, x: x(index), y: HEIGHT - BOTTOM + 18, textAnchor: "middle", fill: "currentColor" }, point.label) : null),
        marked ? h("text", { key: "marked", x: LEFT, y: HEIGHT - 4, fill: "currentColor" }, marked) : null),
      h(Box, { as: "g", color: "blue.fg" },
        h("path", { d: line, fill: "none", stroke: "currentColor", strokeWidth: 2 }),
        ...points.map((point, index) => typeof point.value === "number"
          ? h("circle", { key: index, cx: x(index), cy: y(point.value), r: 4, fill: "currentColor" },
              h("title", null, `${point.label}: ${number(point.value)}${point.note ? `, ${point.note}` : ""}`))
          : null))),
    h("details", null,
      h(Box, { as: "summary", cursor: "pointer", fontSize: "sm" }, "The same numbers as a table"),
      h(Rows, { caption: title, columns, rows: points.map((point) => [point.label, number(point.value), point.note]).reverse() })));
}
