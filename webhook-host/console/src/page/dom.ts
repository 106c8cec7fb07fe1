// Builds elements. Text is always text: nothing that a user or a policy wrote becomes markup.

type Child = Node | string | undefined | false;

/** Makes an element with attributes and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** Characters that an attacker uses to make a text look like another: shown by their number. */
const DECEPTIVE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Returns a text whose invisible characters can be seen. */
export function printable(text: string): string {
  return text.replace(DECEPTIVE, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

/** Returns the element with an id of index.html. */
export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
