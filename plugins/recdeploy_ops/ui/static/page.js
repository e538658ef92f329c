// The page Recommender in Airflow's own UI: what is in production, what is in progress, the history, and rollback.
//
// Airflow loads this file and shares React, its router and Chakra UI as globals. It draws in Airflow's colours, in light
// and dark, and everything from the ledger is text: React escapes it.
(() => {
  const { React, ChakraUI, ReactRouterDOM } = globalThis;
  const {
    Badge, Box, Button, Card, Code, Field, Flex, Heading, Input, Link, NativeSelect, SimpleGrid, Stack, Table, Text, Textarea,
  } = ChakraUI;
  const h = React.createElement;
  const RETRAIN = "recommender_retrain";
  const POLL_MILLISECONDS = 10_000;
  const COLOURS = { healthy: "green", progressing: "blue", paused: "orange", degraded: "red" };
  const STAGES = { champion: "green", validated: "blue", rejected: "red" };

  const Id = ({ children }) => h(Code, { whiteSpace: "normal", wordBreak: "break-all" }, children);
  const address = (path) => new URL(path, document.baseURI);
  const moment = (text) => (text ? `${text.slice(0, 16).replace("T", " ")} UTC` : "");
  const short = (digest) => (digest ? digest.slice(0, 12) : "unknown");
  const rollbackOf = (dagId) => dagId.replace(/_retrain$/, "_rollback");

  // Return the JSON of an answer, or throw its reason as a sentence.
  async function request(path, options) {
    const response = await fetch(address(path), { credentials: "same-origin", ...options });
    const text = await response.text();
    let body = null;
    try { body = JSON.parse(text); } catch { /* not JSON: the status says enough */ }
    if (!response.ok) {
      const detail = body && typeof body.detail === "string" ? body.detail : response.statusText;
      throw new Error(`${response.status}: ${detail}`);
    }
    return body;
  }

  // Load a path now and again while the page is visible; returns [value, error, reload].
  function usePolled(path) {
    const [value, setValue] = React.useState(null);
    const [error, setError] = React.useState("");
    const load = React.useCallback(async () => {
      try { setValue(await request(path)); setError(""); } catch (reason) { setError(String(reason.message)); }
    }, [path]);
    React.useEffect(() => {
      setValue(null);
      load();
      const timer = setInterval(() => { if (document.visibilityState === "visible") load(); }, POLL_MILLISECONDS);
      return () => clearInterval(timer);
    }, [load]);
    return [value, error, load];
  }

  const Section = ({ title, children, note }) =>
    h(Card.Root, { as: "section", variant: "outline", role: "region", "aria-label": title },
      h(Card.Body, { gap: 3 },
        h(Heading, { as: "h2", size: "md" }, title),
        note ? h(Text, { color: "fg.muted", fontSize: "sm" }, note) : null,
        children));

  const Facts = ({ rows }) =>
    h(Box, { as: "dl", display: "grid", gridTemplateColumns: "max-content 1fr", columnGap: 4, rowGap: 1 },
      ...rows.filter(([, value]) => value !== "" && value != null).flatMap(([name, value]) => [
        h(Text, { as: "dt", key: `${name}-name`, color: "fg.muted" }, name),
        h(Box, { as: "dd", key: `${name}-value`, overflowWrap: "anywhere" }, value)]));

  const Rows = ({ caption, columns, rows }) =>
    h(Box, { overflowX: "auto" },
      h(Table.Root, { size: "sm" },
        h(Table.Caption, { captionSide: "top", textAlign: "start" }, caption),
        h(Table.Header, null, h(Table.Row, null,
          ...columns.map((column) => h(Table.ColumnHeader, { key: column, scope: "col" }, column)))),
        h(Table.Body, null, ...rows.map((cells, index) => h(Table.Row, { key: index },
          ...cells.map((cell, at) => h(Table.Cell, { key: at, overflowWrap: "anywhere" }, cell)))))));

  const To = ({ path, children }) =>
    h(Link, { asChild: true, colorPalette: "brand", textDecoration: "underline" }, h(ReactRouterDOM.Link, { to: path }, children));

  const runPath = (dagId, runId) => `/dags/${dagId}/runs/${encodeURIComponent(runId)}`;
  // A run of a notebook or a terminal has no page in Airflow.
  const Run = ({ dagId, runId }) =>
    ["", "notebook", "terminal"].includes(dagId) ? h(Id, null, runId) : h(To, { path: runPath(dagId, runId) }, runId);
  const Report = ({ dagId, runId }) =>
    h(Link, { href: address(`recdeploy/report/${dagId}/${encodeURIComponent(runId)}`).href, target: "_blank", rel: "noopener", textDecoration: "underline" }, "Report");

  function Now({ overview }) {
    const { production, release, status } = overview;
    return h(SimpleGrid, { columns: { base: 1, lg: 2 }, gap: 4 },
      h(Section, { title: "In production" },
        production
          ? h(Facts, { rows: [
              ["Version", h(Badge, { size: "lg", colorPalette: "green" }, `v${production.version}`)],
              ["Verified since", moment(production.since)],
              ["Endpoint", h(Id, null, `${production.url}/predict`)],
              ["Digest", h(Id, null, short(production.digest))],
              ["Deployment", h(Id, null, production.deployment_id)],
              ["Model", h(Id, null, production.model_id)]] })
          : h(Text, null, "Nothing is in production.")),
      h(Section, { title: "In progress" },
        h(Flex, { gap: 2, align: "center", wrap: "wrap" },
          h(Badge, { colorPalette: COLOURS[status.phase] || "gray" }, status.phase), h(Text, null, status.message)),
        release
          ? h(Facts, { rows: [
              ["Run", h(Run, { dagId: release.dag_id, runId: release.run_id })],
              ["Version", `v${release.version}${release.is_rollback ? " (rollback)" : ""}`],
              ["Begun", moment(release.opened_at)],
              ["Triggered by", release.triggered_by || "the schedule"],
              ["Test deployment", release.test ? h(Id, null, `${release.test.url}/predict`) : ""],
              ["Evidence", release.has_report ? h(Report, { dagId: release.dag_id, runId: release.run_id }) : ""],
              ["Your turn", release.is_waiting
                ? h(To, { path: `${runPath(release.dag_id, release.run_id)}/tasks/request_approval/required_actions` }, "Answer the approval")
                : ""]] })
          : null));
  }

  const freezeOf = (dagId) => dagId.replace(/_retrain$/, "_freeze");
  const CAUSES = { person: "Frozen by a person", rollback: "Held after a rollback", window: "A window of the settings" };

  const Frozen = ({ dagId, freezes }) =>
    h(Section, { title: "Promotions are frozen", note: "Releases train, validate and ask; nothing is promoted. A rollback is always possible." },
      ...freezes.map((freeze, index) => h(Facts, { key: index, rows: [
        [CAUSES[freeze.cause] || freeze.cause, freeze.reason],
        ["By", freeze.by || "an automatic rollback"],
        ["Since", moment(freeze.since)],
        ["Until", moment(freeze.until) || "a person resumes them"]] })),
      freezes.some((freeze) => !freeze.until) ? h(To, { path: `/dags/${freezeOf(dagId)}` }, "Resume promotions") : null);

  const describePeriod = (period) => period
    ? `v${period.serving.version} (${short(period.serving.digest)}), from ${moment(period.serving.since)} to ${moment(period.until) || "now"}`
    : "Nothing was known to be in production then.";

  function Then({ dagId, periods }) {
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
          period.how.replaceAll("_", " "), period.by, period.reason]) }));
  }

  const History = ({ releases }) =>
    h(Section, { title: "History" },
      h(Rows, {
        caption: "Releases and rollbacks, newest first.",
        columns: ["Run", "What", "Version", "Begun", "Outcome", "Triggered by", "Decided by", "Reason"],
        rows: releases.map((release) => [
          h(Run, { dagId: release.dag_id, runId: release.run_id }), release.purpose, `v${release.version}`,
          moment(release.opened_at), release.outcome || "in progress", release.triggered_by || "schedule",
          release.decided_by, release.reason]) }));

  function Versions({ versions }) {
    const names = [...new Set(versions.flatMap((version) => Object.keys(version.metrics)))].sort();
    const shown = names.filter((name) => new Set(versions.map((version) => version.metrics[name])).size > 1);
    const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : "");
    return h(Section, { title: "Versions side by side", note: "Only the measures that differ between versions." },
      h(Rows, {
        caption: "Newest first.",
        columns: ["Version", "Stage", "Gates", "Digest", ...shown, "Made by"],
        rows: versions.map((version) => [
          `v${version.version}`, h(Badge, { colorPalette: STAGES[version.stage] || "gray" }, version.stage),
          version.verdict, h(Id, null, short(version.digest)),
          ...shown.map((name) => number(version.metrics[name])),
          h(Run, { dagId: version.dag_id, runId: version.run_id })]) }));
  }

  function RollBack({ dagId, overview, reload }) {
    const choices = overview.versions.filter((version) => version.can_be_restored);
    const [version, setVersion] = React.useState("");
    const [reason, setReason] = React.useState("");
    const [said, setSaid] = React.useState(null);
    const [isBusy, setBusy] = React.useState(false);
    const dag = rollbackOf(dagId);
    async function submit(event) {
      event.preventDefault();
      setBusy(true);
      try {
        const body = JSON.stringify({ logical_date: null, conf: { version: Number(version), reason: reason.trim() } });
        const run = await request(`api/v2/dags/${dag}/dagRuns`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
        setSaid(h("span", null, "The rollback has begun: ", h(Run, { dagId: dag, runId: run.dag_run_id })));
        setReason("");
        await reload();
      } catch (error) {
        setSaid(`Nothing was changed. ${error.message}`);
      }
      setBusy(false);
    }
    return h(Section, { title: "Roll back", note: "Production goes back to an earlier version at the same URL. Airflow checks your right to trigger the DAG and keeps its audit log." },
      choices.length === 0
        ? h(Text, null, "Production has no earlier version to go back to.")
        : h("form", { onSubmit: submit },
            h(Stack, { gap: 3, maxW: "40rem" },
              h(Field.Root, { required: true },
                h(Field.Label, null, "Version"),
                h(NativeSelect.Root, null,
                  h(NativeSelect.Field, { value: version, required: true, onChange: (event) => setVersion(event.target.value) },
                    h("option", { value: "" }, "Choose"),
                    ...choices.map((choice) => h("option", { key: choice.version, value: choice.version }, `v${choice.version} (${short(choice.digest)})`))),
                  h(NativeSelect.Indicator))),
              h(Field.Root, { required: true },
                h(Field.Label, null, "Reason, shown in the history"),
                h(Textarea, { value: reason, required: true, maxLength: 2000, onChange: (event) => setReason(event.target.value) })),
              h(Button, { type: "submit", colorPalette: "red", alignSelf: "start", disabled: isBusy || !version || !reason.trim() },
                version ? `Roll production back to v${version}` : "Roll production back"))),
      h(Text, { role: "status" }, said));
  }

  // Which recommenders this user may see: those whose retraining DAG Airflow lists.
  function useRecommenders(fixed) {
    const [found] = usePolled(fixed ? `api/v2/dags/${fixed}` : "api/v2/dags?dag_id_pattern=%25_retrain&limit=100");
    if (fixed) return [fixed];
    const ids = found ? found.dags.map((dag) => dag.dag_id).filter((id) => id.endsWith("_retrain")) : [];
    return ids.sort((one, other) => (one === RETRAIN ? -1 : other === RETRAIN ? 1 : one.localeCompare(other)));
  }

  function Page({ dagId }) {
    const fixed = dagId ? dagId.replace(/_(rollback|adopt|freeze|housekeeping)$/, "_retrain") : null;
    const recommenders = useRecommenders(fixed);
    const [chosen, setChosen] = React.useState(null);
    const shown = fixed || chosen || recommenders[0] || RETRAIN;
    const [overview, error, reload] = usePolled(`recdeploy/api/overview/${shown}`);
    return h(Box, { as: "main", p: 4, overflowY: "auto", h: "full" },
      h(Stack, { gap: 4 },
        h(Flex, { justify: "space-between", align: "center", wrap: "wrap", gap: 3 },
          h(Heading, { as: "h1", size: "lg" }, overview ? overview.project : "Recommender"),
          recommenders.length > 1
            ? h(NativeSelect.Root, { width: "auto" },
                h(NativeSelect.Field, { "aria-label": "Recommender", value: shown, onChange: (event) => setChosen(event.target.value) },
                  ...recommenders.map((id) => h("option", { key: id, value: id }, id))),
                h(NativeSelect.Indicator))
            : null),
        error ? h(Text, { role: "alert", color: "fg.error" }, error) : null,
        overview
          ? [overview.freeze.length ? h(Frozen, { key: "frozen", dagId: shown, freezes: overview.freeze }) : null,
             h(Now, { key: "now", overview }),
             h(RollBack, { key: `roll-back-${shown}`, dagId: shown, overview, reload }),
             h(Then, { key: "then", dagId: shown, periods: overview.periods }),
             h(History, { key: "history", releases: overview.releases }),
             h(Versions, { key: "versions", versions: overview.versions })]
          : error ? null : h(Text, { role: "status" }, "Loading")));
  }

  globalThis.AirflowPlugin = Page;
})();
