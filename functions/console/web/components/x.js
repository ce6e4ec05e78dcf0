/** A heading with this text. */
export function heading(text) {
  const element = document.createElement("h1");
  element.textContent = text;
  return element;
}
