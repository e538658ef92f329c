// What is in production and what is in progress, by the ledger; beside it, what OCI says of the deployments.

import { Again, Answer, Facts, Id, Mark, Report, Rows, Run, Section, Waiting, duration, h, moment, short } from "./parts.js";

const { ChakraUI } = globalThis;
const { Flex, Link, List, SimpleGrid, Stack, Text } = ChakraUI;

const find = (live, deploymentId) => live && live.deployments.find((one) => one.deployment_id === deploymentId);

// Rows about a deployment that only OCI knows.
const inOci = (live, deploymentId) => {
  const deployment = find(live, deploymentId);
  return deployment
    ? [["Health", h(Flex, { gap: 2, wrap: "wrap" }, h(Mark, null, deployment.is_healthy ? "healthy" : "degraded"), h(Text, null, `${deployment.state} ${deployment.details}`))],
       ["Size", deployment.size],
       ["Deployment made", `${moment(deployment.created_at)}, ${duration(deployment.created_at, live.checked_at)} ago`]]
    : [];
};

const Production = ({ production, now, live }) =>
  h(Section, { title: "In production" },
    production
      ? h(Facts, { rows: [
          ["Version", h(Mark, { size: "lg" }, `v${production.version}`)],
          ["Verified since", `${moment(production.since)}, ${duration(production.since, now)} ago`],
          ...inOci(live, production.deployment_id),
          ["Endpoint", h(Id, null, `${production.url}/predict`)],
          ["Digest", h(Id, null, short(production.digest))],
          ["Deployment", h(Id, null, production.deployment_id)],
          ["Model", h(Id, null, production.model_id)]] })
      : h(Text, null, "Nothing is in production."));

const Progress = ({ release, status, live }) =>
  h(Section, { title: "In progress" },
    h(Flex, { gap: 2, align: "center", wrap: "wrap" },
      h(Mark, null, status.phase), h(Text, { role: "status" }, status.message)),
    release
      ? h(Facts, { rows: [
          ["Your turn", release.is_waiting ? h(Answer, { dagId: release.dag_id, runId: release.run_id }) : ""],
          ["Run", h(Run, { dagId: release.dag_id, runId: release.run_id })],
          ["Version", `v${release.version}${release.is_rollback ? " (rollback)" : ""}`],
          ["Begun", moment(release.opened_at)],
          ["Triggered by", release.triggered_by || "the schedule"],
          ["Evidence", release.has_report ? h(Report, { dagId: release.dag_id, runId: release.run_id }) : ""],
          ["Test deployment", release.test ? h(Id, null, `${release.test.url}/predict`) : ""],
          ...(release.test ? inOci(live, release.test.deployment_id) : [])] })
      : null);

export const Now = ({ overview, live }) =>
  h(SimpleGrid, { columns: { base: 1, lg: 2 }, gap: 4 },
    h(Production, { production: overview.production, now: overview.now, live }),
    h(Progress, { release: overview.release, status: overview.status, live }));

// What OCI runs against what the ledger says.
export function Live({ loaded }) {
  const [live, error, load, isBusy] = loaded;
  return h(Section, {
    title: "What OCI runs",
    note: "Read when this page is opened, and by the button: one request goes to production.",
    action: h(Again, { load, isBusy, at: live && live.checked_at, what: "what OCI runs" }),
  },
    h(Waiting, { value: live, error }),
    live
      ? h(Stack, { gap: 3 },
          h("div", { role: "status" }, live.differences.length
            ? h(List.Root, { ps: 5 }, ...live.differences.map((line) => h(List.Item, { key: line, color: "fg.error" }, line)))
            : h(Text, null, "OCI runs what the ledger says.", live.answer ? ` Production's URL: ${live.answer}.` : "")),
          live.deployments.length
            ? h(Rows, {
                caption: "Deployments of this project in OCI.",
                columns: ["Name", "Role", "State", "Version", "Size", "Made"],
                rows: live.deployments.map((one) => [
                  one.name, one.role || "none", one.state, one.version ? `v${one.version}` : "unknown", one.size, moment(one.created_at)]) })
            : null)
      : null);
}
