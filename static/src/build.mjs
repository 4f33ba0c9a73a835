// Builds the committed assets: npm install && npm run build.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const mod = (p) => readFileSync("node_modules/" + p, "utf8");
const version = (name) => JSON.parse(mod(name + "/package.json")).version;
const clean = (js) => js.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "").trim() + "\n";

mkdirSync("static/vendor", { recursive: true });
mkdirSync("static/testdata", { recursive: true });

writeFileSync(
  "static/vendor/htmx.js",
  `/* htmx ${version("htmx.org")} with its hx-sse extension, Zero-Clause BSD, https://htmx.org */\n` +
    clean(mod("htmx.org/dist/htmx.min.js")) +
    clean(mod("htmx.org/dist/ext/hx-sse.min.js")),
);

execFileSync("node_modules/.bin/esbuild", ["static/src/warren.js", "--minify", "--target=es2022", "--outfile=static/warren.js"], { stdio: "inherit" });

// For the browser tests only: not embedded, not served.
writeFileSync("static/testdata/axe.min.js", mod("axe-core/axe.min.js").trimEnd() + "\n");

execFileSync("node_modules/.bin/tailwindcss", ["-i", "static/src/warren.css", "-o", "static/warren.css", "--minify"], { stdio: "inherit" });
