// Two words for what every module does to the page.

export const get = (id) => document.getElementById(id);export const leave = () => document.activeElement?.blur();  // a field that was typed into tells its change now
export const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);
