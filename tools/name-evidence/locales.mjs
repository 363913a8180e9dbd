// Prints the word lists of @faker-js/faker as JSON: {locale: {group: {list: value}}}. Used by make.py.
import path from "node:path";
import { pathToFileURL } from "node:url";

const file = path.join(process.argv[2], "dist", "index.js");
const { allLocales } = await import(pathToFileURL(path.resolve(file)).href);
console.log(JSON.stringify(allLocales));
