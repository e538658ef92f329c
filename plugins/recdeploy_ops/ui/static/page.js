// The page Recommender and the tab of a run, in Airflow's own UI: plain modules on the React, router and Chakra UI that
// Airflow shares as globals. Airflow loads this file for both, and looks for each under its name.

import { Promotion } from "./calls.js";
import { Freezes } from "./freezes.js";
import { Backups, Metrics } from "./health.js";
import { History, Then } from "./history.js";
import { Live, Now } from "./now.js";
import { h } from "./parts.js";
import { ReleaseTab } from "./release.js";
import { usePolled, useLoaded } from "./requests.js";
import { RollBack } from "./rollback.js";
import { Measure, SideBySide, Versions } from "./versions.js";

const { React, ChakraUI } = globalThis;
const { Box, Flex, Heading, NativeSelect, Stack, Text } = ChakraUI;

const RETRAIN = "recommender_retrain";

// Which recommenders this user may see: those whose retraining DAG Airflow lists.
function useRecommenders() {
  const [listed] = useLoaded("api/v2/dags?dag_id_pattern=%25_retrain&limit=100");
  const ids = listed ? listed.dags.map((dag) => dag.dag_id).filter((id) => id.endsWith("_retrain")) : [];
  return ids.sort((one, other) => (one === RETRAIN ? -1 : other === RETRAIN ? 1 : one.localeCompare(other)));
}

// The sections of one recommender; what only OCI knows comes on its own, and never holds up the rest.
function Recommender({ dagId, overview, reload }) {
  const live = useLoaded(`recdeploy/api/live/${dagId}`);
  return h(React.Fragment, null,
    h(Now, { overview, live: live[0] }),
    h(Promotion, { dagId, overview }),
    h(RollBack, { dagId, overview, reload }),
    h(Freezes, { dagId, overview, reload }),
    h(Live, { loaded: live }),
    h(Metrics, { dagId }),
    h(Then, { dagId, periods: overview.periods }),
    h(History, { releases: overview.releases, reports: overview.reports }),
    h(Versions, { versions: overview.versions, reports: overview.reports }),
    h(Measure, { overview }),
    h(SideBySide, { dagId, versions: overview.versions }),
    h(Backups, { dagId }));
}

function Page() {
  const recommenders = useRecommenders();
  const [chosen, setChosen] = React.useState(null);
  const shown = chosen || recommenders[0] || RETRAIN;
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
        ? h(Recommender, { key: shown, dagId: shown, overview, reload })
        : error ? null : h(Text, { role: "status" }, "Loading")));
}

// A module runs once, also where two entries name it: `globalThis.AirflowPlugin` would be there for the first alone.
globalThis.Recommender = Page;
globalThis["Recommender release"] = ReleaseTab;
