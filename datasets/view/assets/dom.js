// Two words for what every module does to the page.

export const get = (id) => document.getElementById(id);
export const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);
