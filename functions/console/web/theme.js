// Runs before the page is painted, or a chosen theme would follow a flash of the other one.
try {
  const chosen = localStorage.getItem("wbcs.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is off: the system's theme it is.
}
