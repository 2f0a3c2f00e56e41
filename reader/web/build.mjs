/**
 * Builds the pages: src/ and Apache ECharts, bundled into dist/. Nothing else is packed, and nothing is fetched by a
 * page from anywhere else. The licences of what is packed stand at the head of each script.
 *
 * Run by scripts/web. Fails where a bundle could not stand in the report's file.
 */

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const [source, target] = [join(here, "src"), join(here, "dist")];
const PAGES = ["dashboard", "report"];
const COPIED = ["dashboard.html", "report.html", "icon.svg"];

const options = {
  absWorkingDir: here,
  bundle: true,
  define: { "process.env.NODE_ENV": '"production"' },
  format: "iife",
  legalComments: "none",
  logLevel: "warning",
  metafile: true,
  minify: true,
  target: ["chrome115", "edge115", "firefox121", "safari17"],
};

/** Names of the packages that a bundle has modules of. */
function packages(metafile) {
  const folders = Object.keys(metafile.inputs).map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  return [...new Set(folders.filter(Boolean))].sort();
}

/** Name, version, licence and notice of a package, as its folder has them. */
async function notice(folder) {
  const at = join(here, folder.replaceAll("/", sep));
  const { name, version, license } = JSON.parse(await readFile(join(at, "package.json"), "utf8"));
  const texts = [];
  const parts = await readdir(join(at, "licenses")).catch(() => []); // of what the package itself took from others
  for (const file of ["NOTICE", "LICENSE", "LICENSE.txt", ...parts.sort().map((name) => join("licenses", name))]) {
    const text = await readFile(join(at, file), "utf8").catch(() => null);
    if (text !== null) texts.push(text.trim());
  }
  if (!texts.length) throw new Error(`${folder} has no licence file`);
  return `${name} ${version} (${license})\n\n${texts.join("\n\n")}`;
}

await mkdir(target, { recursive: true });
for (const page of PAGES) {
  const file = join(target, `${page}.js`);
  const script = await build({ ...options, entryPoints: [join(source, `${page}.js`)], write: false });
  const notices = new Set(await Promise.all(packages(script.metafile).map(notice))); // npm may have a package twice
  const head = `/*! This file contains the following packages.\n\n${[...notices].join(`\n\n${"-".repeat(80)}\n\n`)}\n*/\n`;
  const text = head.replaceAll("*/", "* /").replace(/\* \/\n$/, "*/\n") + script.outputFiles[0].text;
  const style = await build({ ...options, entryPoints: [join(source, `${page}.css`)], write: false });
  for (const part of [text, style.outputFiles[0].text]) {
    if (/<\/(?:script|style)|<!--/i.test(part)) throw new Error(`${page}: would end its element in the report`);
  }
  await writeFile(file, text);
  await writeFile(join(target, `${page}.css`), style.outputFiles[0].text);
}
for (const name of COPIED) await copyFile(join(source, name), join(target, name));
