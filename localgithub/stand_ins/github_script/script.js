// What actions/github-script does, without its libraries: core, context, exec, io, glob and github.request.
const fs = require("fs");
const os = require("os");
const path = require("path");
const { spawn } = require("child_process");

const env = process.env;
const text = (value) => (value == null ? "" : typeof value === "string" ? value : JSON.stringify(value));
const escape = (value) => text(value).replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
const property = (value) => escape(value).replace(/:/g, "%3A").replace(/,/g, "%2C");
const names = { title: "title", file: "file", startLine: "line", endLine: "endLine", startColumn: "col", endColumn: "endColumn" };

function command(name, message, properties = {}) {
  const said = Object.entries(names).filter(([key]) => properties[key] != null).map(([key, name]) => `${name}=${property(properties[key])}`);
  process.stdout.write(`::${name}${said.length ? " " + said.join(",") : ""}::${escape(message)}${os.EOL}`);
}

function keep(file, name, value) {
  const end = `ghadelimiter_${Math.random().toString(36).slice(2)}`;
  fs.appendFileSync(file, `${name}<<${end}\n${text(value)}\n${end}\n`);
}

const message = (value) => (value instanceof Error ? value.message : value);
const core = {
  setOutput: (name, value) => keep(env.GITHUB_OUTPUT, name, value),
  exportVariable: (name, value) => { env[name] = text(value); keep(env.GITHUB_ENV, name, value); },
  addPath: (folder) => { env.PATH = `${folder}${path.delimiter}${env.PATH}`; fs.appendFileSync(env.GITHUB_PATH, `${folder}\n`); },
  setSecret: (value) => command("add-mask", value),
  getInput: (name) => (env[`INPUT_${name.replace(/ /g, "_").toUpperCase()}`] || "").trim(),
  setFailed: (value) => { process.exitCode = 1; command("error", text(message(value))); },
  error: (value, properties) => command("error", text(message(value)), properties),
  warning: (value, properties) => command("warning", text(message(value)), properties),
  notice: (value, properties) => command("notice", text(message(value)), properties),
  info: (value) => process.stdout.write(value + os.EOL),
  debug: (value) => command("debug", value),
  isDebug: () => env.RUNNER_DEBUG === "1",
  startGroup: (name) => command("group", name),
  endGroup: () => command("endgroup", ""),
  group: async (name, body) => { core.startGroup(name); try { return await body(); } finally { core.endGroup(); } },
  summary: {
    parts: "",
    addRaw(value, newLine) { this.parts += value + (newLine ? os.EOL : ""); return this; },
    addHeading(value, level = 1) { return this.addRaw(`<h${level}>${value}</h${level}>`, true); },
    addEOL() { return this.addRaw(os.EOL); },
    async write() { fs.appendFileSync(env.GITHUB_STEP_SUMMARY, this.parts); this.parts = ""; return this; },
  },
};

const payload = JSON.parse(fs.readFileSync(env.GITHUB_EVENT_PATH, "utf8"));
const [owner, repo] = env.GITHUB_REPOSITORY.split("/");
const context = {
  payload, eventName: env.GITHUB_EVENT_NAME, sha: env.GITHUB_SHA, ref: env.GITHUB_REF, workflow: env.GITHUB_WORKFLOW,
  action: env.GITHUB_ACTION, actor: env.GITHUB_ACTOR, job: env.GITHUB_JOB, runId: Number(env.GITHUB_RUN_ID),
  runNumber: Number(env.GITHUB_RUN_NUMBER), runAttempt: Number(env.GITHUB_RUN_ATTEMPT), apiUrl: env.GITHUB_API_URL,
  serverUrl: env.GITHUB_SERVER_URL, repo: { owner, repo },
  issue: { owner, repo, number: (payload.issue || payload.pull_request || payload).number },
};

async function request(route, values = {}) {
  let [method, address] = route.includes(" ") ? route.split(" ") : ["GET", route];
  const rest = { ...values };
  delete rest.headers;
  address = address.replace(/\{(\w+)\}/g, (_, name) => { const value = rest[name]; delete rest[name]; return encodeURIComponent(value); });
  const url = new URL(address.startsWith("http") ? address : env.GITHUB_API_URL + address);
  const options = { method, headers: { authorization: `Bearer ${env.SCRIPT_TOKEN}`, "user-agent": "github-script", ...values.headers } };
  if (method === "GET") Object.entries(rest).forEach(([name, value]) => url.searchParams.set(name, value));
  else options.body = JSON.stringify(rest);
  const answer = await fetch(url, options);
  const body = await answer.text();
  const data = (answer.headers.get("content-type") || "").includes("json") && body ? JSON.parse(body) : body;
  if (!answer.ok) throw Object.assign(new Error(data.message || body), { status: answer.status });
  return { status: answer.status, url: String(url), headers: Object.fromEntries(answer.headers), data };
}

const absent = (what) => { throw new Error(`${what} is not there on the local GitHub: use github.request("GET /…") instead.`); };
const rest = new Proxy({}, { get: (_, area) => new Proxy({}, { get: (_, name) => () => absent(`github.rest.${String(area)}.${String(name)}`) }) });
const github = { request, rest, graphql: () => absent("github.graphql"), paginate: () => absent("github.paginate") };

function run(program, parameters = [], options = {}) {
  return new Promise((resolve, reject) => {
    const words = parameters.length ? [program, ...parameters] : program.split(/ +/);
    const child = spawn(words[0], words.slice(1), { cwd: options.cwd, env: options.env || env });
    const said = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) {
      child[name].on("data", (data) => {
        said[name] += data;
        if (!options.silent) process[name].write(data);
        if (options.listeners && options.listeners[name]) options.listeners[name](data);
      });
    }
    child.on("error", reject);
    child.on("close", (exitCode) => {
      if (exitCode && !options.ignoreReturnCode) reject(new Error(`The process '${words[0]}' failed with exit code ${exitCode}`));
      else resolve({ exitCode, ...said });
    });
  });
}

const exec = { exec: async (...all) => (await run(...all)).exitCode, getExecOutput: run };
const io = {
  mkdirP: (folder) => fs.promises.mkdir(folder, { recursive: true }),
  rmRF: (target) => fs.promises.rm(target, { recursive: true, force: true }),
  cp: (from, to, options = {}) => fs.promises.cp(from, to, { recursive: options.recursive }),
  mv: (from, to) => fs.promises.rename(from, to),
  which: async (tool) => (env.PATH || "").split(path.delimiter).map((folder) => path.join(folder, tool)).find((file) => fs.existsSync(file)) || "",
};
const glob = { create: () => absent("glob.create"), hashFiles: () => absent("glob.hashFiles") };

async function main() {
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const inWorkspace = (name) => require(name.startsWith(".") ? path.resolve(env.GITHUB_WORKSPACE, name) : require.resolve(name, { paths: [env.GITHUB_WORKSPACE] }));
  const offered = { require: inWorkspace, __original_require__: require, github, octokit: github, context, core, exec, glob, io };
  const script = env.SCRIPT_TEXT;
  const result = await new AsyncFunction(...Object.keys(offered), script)(...Object.values(offered));
  const encoding = env.SCRIPT_ENCODING;
  if (result !== undefined) core.setOutput("result", encoding === "string" ? String(result) : JSON.stringify(result));
}

main().catch((error) => {
  console.error(error);
  core.setFailed(`Unhandled error: ${error}`);
});
