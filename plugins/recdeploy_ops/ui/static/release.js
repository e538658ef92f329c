// The tab of a run: what this release did, its gates, its evidence, and the calls of its promotion.

import { CallRows, releasePath } from "./calls.js";
import { Answer, Facts, Mark, Report, Section, To, Waiting, h, moment } from "./parts.js";
import { usePolled } from "./requests.js";

const { ChakraUI } = globalThis;
const { Box, Flex, Stack, Text } = ChakraUI;

const OF_A_RELEASE = /_(retrain|rollback)$/;

function Release({ dagId, runId }) {
  const [release, error] = usePolled(releasePath(dagId, runId), (one) => !one.is_open);
  if (!release) return h(Waiting, { value: release, error });
  const facts = [
    ["Your turn", release.is_waiting ? h(Answer, { dagId, runId }) : ""],
    ["Version", `v${release.version}`],
    ["State", h(Flex, { gap: 2, wrap: "wrap" }, h(Mark, null, release.outcome || "in progress"), h(Text, { role: "status" }, release.is_open ? release.progress : ""))],
    ["Begun", moment(release.opened_at)],
    ["Ended", moment(release.closed_at)],
    ["Triggered by", release.triggered_by || "the schedule"],
    ["Decided by", release.decided_by],
    ["Reason", release.reason],
    ["Gates", release.gates.length
      ? h(Flex, { gap: 3, wrap: "wrap" }, ...release.gates.map((gate) => h(Flex, { key: gate.name, gap: 1 }, h(Text, null, gate.name), h(Mark, null, gate.verdict))))
      : ""],
    ["Evidence", release.has_report ? h(Report, { dagId, runId }) : ""],
    ["All releases", h(To, { path: "/plugin/recommender" }, "Recommender")]];
  return h(Stack, { gap: 4 },
    error ? h(Text, { role: "alert", color: "fg.error" }, error) : null,
    h(Section, { title: release.purpose === "rollback" ? "This rollback" : "This release" }, h(Facts, { rows: facts })),
    release.calls.length
      ? h(Section, { title: release.is_open ? "What Promote will do" : "What Promote did" },
          h(CallRows, { calls: release.calls }),
          release.problem ? h(Text, { role: "alert" }, release.problem) : null)
      : null);
}

export const ReleaseTab = ({ dagId, runId }) =>
  h(Box, { p: 4, overflowY: "auto", h: "full" },
    OF_A_RELEASE.test(dagId || "")
      ? h(Release, { dagId, runId })
      : h(Text, null, "This run is not a release of a recommender."));
