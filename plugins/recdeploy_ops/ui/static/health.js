// Requests, errors and latency of production, as OCI's Monitoring has measured them; and the backups.

import { Again, Facts, Id, Rows, Section, Waiting, h, moment, short } from "./parts.js";
import { Plot } from "./plots.js";
import { useLoaded } from "./requests.js";

const { ChakraUI } = globalThis;
const { Stack, Text } = ChakraUI;

const milliseconds = (value) => (typeof value === "number" ? `${Number(value.toPrecision(3))} ms` : "not measured");
const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

function Measured({ metrics }) {
  const { hours } = metrics;
  if (hours.length === 0) return h(Text, null, `OCI has no measurement of production in the last ${metrics.within_hours} hours, which is not the same as no requests.`);
  const requests = sum(hours.map((hour) => hour.requests)), failures = sum(hours.map((hour) => hour.failures));
  const newest = hours[hours.length - 1];
  const points = hours.map((hour) => ({
    label: hour.end.slice(11, 16), value: hour.p95,
    note: `${hour.requests ?? "unknown"} requests, ${hour.failures ?? "unknown"} failed, median ${milliseconds(hour.p50)}`,
  }));
  return h(Stack, { gap: 3 },
    h(Facts, { rows: [
      ["Requests", String(requests)],
      ["Failed", requests ? `${failures} (${percent(failures / requests)})` : String(failures)],
      ["Latency of the newest hour", `median ${milliseconds(newest.p50)}, 95 % within ${milliseconds(newest.p95)}`]] }),
    h(Plot, { title: "95th percentile of the latency, milliseconds, by the hour that ends then (UTC)", columns: ["Until", "ms", "Requests"], points }));
}

export function Metrics({ dagId }) {
  const [metrics, error, load, isBusy] = useLoaded(`recdeploy/api/metrics/${dagId}`);
  return h(Section, {
    title: "Latency and errors of production",
    note: "Measured by OCI Monitoring in the last day, probes included.",
    action: h(Again, { load, isBusy, at: metrics && metrics.checked_at, what: "latency and errors" }),
  },
    h(Waiting, { value: metrics, error }),
    metrics ? h(Measured, { metrics }) : null);
}

export function Backups({ dagId }) {
  const [backups, error, load, isBusy] = useLoaded(`recdeploy/api/backups/${dagId}`);
  return h(Section, { title: "Backups", action: h(Again, { load, isBusy, what: "the backups" }) },
    h(Waiting, { value: backups, error }),
    backups
      ? backups.length
        ? h(Rows, {
            caption: "Newest first. One without a digest was made by another manager, and is not verified.",
            columns: ["Backup", "Version", "Files", "Digest"],
            rows: backups.map((backup) => [h(Id, null, backup.prefix), `v${backup.version}`, backup.files, backup.digest ? h(Id, null, short(backup.digest)) : "none"]) })
        : h(Text, null, "No backup yet: the first is made before a version is replaced.")
      : null);
}
