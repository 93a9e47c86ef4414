// Creation of elements: text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. `properties`: attributes; `on`: listeners by event; null and false leave an attribute out. */
export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return a symbol of the page's icons, hidden from screen readers. */
export function icon(name) {
  const image = document.createElementNS(SVG, "svg");
  image.setAttribute("class", "icon");
  image.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  image.append(use);
  return image;
}

/** Return an image of a blob; the blob's URL lives until the image has been read. */
export function picture(blob, alt, className) {
  const image = create("img", { alt, class: className, draggable: "false" });
  const url = URL.createObjectURL(blob);
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.addEventListener(
    "error",
    () => {
      URL.revokeObjectURL(url);
      image.replaceWith(create("span", { class: `${className ?? ""} no-picture` }, icon("leaf")));
    },
    { once: true },
  );
  image.src = url;
  return image;
}

/** Replace the children of an element; the focus stays at the element with the same id. */
export function replaceContent(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children.flat().filter(Boolean));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Let screen readers say a text. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
