// A Chromium that a test drives: one JSON command a line on standard input, one JSON answer a line on standard output.
//
//   open    {url, width, height, scheme, locale}   a page in a context of its own; the page before it is closed
//   wait    {script, within_ms}                    until the expression is true; answers the milliseconds since 1970
//   eval    {script}                               the value of an expression
//   click   {selector} · fill {selector, text} · press {key}
//   shot    {file, full}                           a screenshot
//   problems                                       what the console, the policy and the network complained of since `open`
//
// Environment: TIANLU_PLAYWRIGHT (folder with node_modules/playwright-core), TIANLU_CHROMIUM (the program).

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.TIANLU_PLAYWRIGHT}/`);
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
];

const browser = await chromium.launch({ executablePath: process.env.TIANLU_CHROMIUM, args: FLAGS });
let context = null;
let page = null;
let debug = null;
let problems = [];

const commands = {
  async open({ url, width, height, scheme, locale }) {
    if (context) await context.close();
    problems = [];
    context = await browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      locale,
      timezoneId: "Asia/Shanghai",
    });
    page = await context.newPage();
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
    page.on(
      "console",
      (message) => ["error", "warning"].includes(message.type()) && problems.push(`console: ${message.text()}`),
    );
    page.on("pageerror", (error) => problems.push(`error: ${error.stack || error.message}`));
    page.on("dialog", async (dialog) => {
      problems.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== new URL(url).origin) problems.push(`outside: ${request.url()}`);
    });
    debug = await context.newCDPSession(page);
    await page.goto(url, { waitUntil: "load" });
    return null;
  },
  async wait({ script, within_ms: within }) {
    const deadline = Date.now() + within;
    let last;
    for (;;) {
      // While a page is loaded anew there is nothing to ask.
      last = await evaluate(script).catch((error) => error.message);
      if (last && typeof last !== "string") return Date.now();
      if (Date.now() > deadline) throw new Error(`waited ${within} ms in vain for ${script}: ${JSON.stringify(last)}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  },
  eval: ({ script }) => evaluate(script),
  click: ({ selector }) => page.click(selector, { timeout: 10_000 }),
  fill: ({ selector, text }) => page.fill(selector, text, { timeout: 10_000 }),
  press: ({ key }) => page.keyboard.press(key),
  async shot({ file, full }) {
    await page.screenshot({ path: file, fullPage: full });
    return null;
  },
  async problems() {
    const violations = await evaluate("window.violations");
    return [...problems, ...violations.map((one) => `policy: ${one}`)];
  },
};

/** Evaluates as the debugger does: the page's policy forbids `eval`, and it is not to be loosened for a test. */
async function evaluate(expression) {
  const { result, exceptionDetails: fault } = await debug.send("Runtime.evaluate", { expression, returnByValue: true });
  if (fault) throw new Error(`${expression}: ${fault.exception?.description ?? fault.text}`);
  return result.subtype === "node" ? true : result.value;
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ ok: true, value: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  try {
    say({ ok: true, value: (await commands[command](rest)) ?? null });
  } catch (error) {
    say({ ok: false, error: String(error.message || error) });
  }
}
await browser.close();
