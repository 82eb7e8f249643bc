// Dark or light theme: the system's until the user chooses another, which is remembered.

const KEY = "otomatch-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => (stored() ?? (system.matches ? "dark" : "light")) === "dark";

export function toggleTheme() {
  const wanted = isDark() ? "light" : "dark";
  // Choosing the system's theme follows the system again, instead of pinning that theme.
  if ((wanted === "dark") === system.matches) remove();
  else store(wanted);
  apply();
}

function apply() {
  const chosen = stored();
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
  dispatchEvent(new Event("themechange"));
}

// Storage may be blocked (private windows, blocked cookies); the choice then lasts until the page
// is closed.
let fallback = null;

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return fallback;
  }
}

function store(value) {
  fallback = value;
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // kept in fallback
  }
}

function remove() {
  fallback = null;
  try {
    localStorage.removeItem(KEY);
  } catch {
    // kept in fallback
  }
}

system.addEventListener("change", apply);
apply();
