// Shorthands for building a page.
const $ = id => document.getElementById(id);

function element(parent, name, attributes = {}, text = "") {
  const svg = parent.namespaceURI === "http://www.w3.org/2000/svg";
  const node = svg ? document.createElementNS(parent.namespaceURI, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== "") node.textContent = text;
  parent.append(node);
  return node;
}

function options(select, values, first) {
  if (first !== undefined) element(select, "option", {value: ""}, first);
  for (const value of values) element(select, "option", {value}, value);
}
