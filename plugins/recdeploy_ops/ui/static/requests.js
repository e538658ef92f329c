// Request JSON from this Airflow: once, or again and again while the page is visible.

const { React } = globalThis;
const POLL_MILLISECONDS = 10_000;

// Return an address below Airflow's base URL, which may have a path.
export const address = (path) => new URL(path, document.baseURI);

// Return the JSON of an answer, or throw its reason as a sentence, with its status; without a status there was no answer.
export async function request(path, options) {
  const response = await fetch(address(path), { credentials: "same-origin", ...options });
  const text = await response.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* not JSON: the status says enough */ }
  if (!response.ok) {
    const detail = body && typeof body.detail === "string" ? body.detail : response.statusText;
    throw Object.assign(new Error(`${response.status}: ${detail}`), { status: response.status });
  }
  return body;
}

// Load a path once, or not yet if it is null; returns [value, error, load again, is busy].
export function useLoaded(path) {
  const [shown, show] = React.useState({ path, value: null, error: "" });
  const [isBusy, setBusy] = React.useState(false);
  const newest = React.useRef(null); // an answer to an earlier request may come later
  const load = React.useCallback(async () => {
    if (!path) return;
    const own = Symbol(path);
    newest.current = own;
    setBusy(true);
    let change;
    try {
      const value = await request(path);
      change = () => ({ path, value, error: "" });
    } catch (reason) { // what was shown stays, beside the reason
      change = (before) => ({ path, value: before.path === path ? before.value : null, error: reason.message });
    }
    if (newest.current !== own) return;
    show(change);
    setBusy(false);
  }, [path]);
  React.useEffect(() => {
    load();
    return () => { newest.current = null; };
  }, [load]);
  const isCurrent = shown.path === path;
  return [isCurrent ? shown.value : null, isCurrent ? shown.error : "", load, isBusy];
}

// Load a path now and again while the page is visible, until what it gives is over; otherwise as `useLoaded`.
export function usePolled(path, isOver = () => false) {
  const loaded = useLoaded(path);
  const [value, , load] = loaded;
  const isDone = value !== null && isOver(value);
  React.useEffect(() => {
    if (isDone) return undefined;
    const timer = setInterval(() => { if (document.visibilityState === "visible") load(); }, POLL_MILLISECONDS);
    return () => clearInterval(timer);
  }, [load, isDone]);
  return loaded;
}
