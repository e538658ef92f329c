// What freezes promotions now, and the switch: a person freezes them, or resumes them.

import { Facts, Section, h, moment } from "./parts.js";
import { TriggerForm, dagOf } from "./triggers.js";

const { ChakraUI } = globalThis;
const { Text } = ChakraUI;
const CAUSES = { person: "Frozen by a person", rollback: "Held after a rollback", window: "A window of the settings" };

const Cause = ({ freeze }) =>
  h(Facts, { rows: [
    [CAUSES[freeze.cause] || freeze.cause, freeze.reason],
    ["By", freeze.by || "an automatic rollback"],
    ["Since", moment(freeze.since)],
    ["Until", moment(freeze.until) || "a person resumes them"]] });

export function Freezes({ dagId, overview, reload }) {
  const isFrozen = overview.freeze.length > 0;
  const canResume = overview.freeze.some((freeze) => !freeze.until);
  return h(Section, {
    title: isFrozen ? "Promotions are frozen" : "Freeze promotions",
    note: "While they are frozen releases train, validate and ask; nothing is promoted. A rollback is always possible." },
    ...overview.freeze.map((freeze, index) => h(Cause, { key: index, freeze })),
    isFrozen && !canResume
      ? h(Text, null, "A window of the settings ends by itself.")
      : h(TriggerForm, {
          dag: dagOf(dagId, "freeze"), reload, palette: canResume ? "blue" : "orange",
          begun: canResume ? "Promotions are being resumed" : "Promotions are being frozen",
          label: canResume ? "Resume promotions" : "Freeze promotions",
          conf: () => ({ freeze: !canResume }) }));
}
