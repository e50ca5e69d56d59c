/** The console: puts the parts together. State in state.js, the line to the daemon in session.js, what is seen in views/. */

import { Session } from "./session.js";
import { daemonNow, initialState, reduce } from "./state.js";
import { createStore } from "./store.js";
import { tokens } from "./tokens.js";
import { Announcer } from "./views/announcer.js";
import { Feed } from "./views/feed.js";
import { Forms } from "./views/forms.js";
import { Grid } from "./views/grid.js";
import { Header } from "./views/header.js";
import { Lightbox } from "./views/lightbox.js";
import { TokenPrompt } from "./views/token.js";

const TICK_MS = 500; // ages and the right edge of the curves move without any message

const at = (id) => document.getElementById(id);
const store = createStore(reduce, initialState());
const session = new Session(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/ws`, store, tokens);
const forms = new Forms(session, store);
const lightbox = new Lightbox(tokens);

const views = [
  new Header({ summary: at("summary"), lagged: at("lagged"), line: at("line") }, () => session.start()),
  new Grid(at("grid"), at("empty"), { session, forms }),
  new Feed(at("events"), { tokens, lightbox }),
  new Announcer(at("alarm")),
  new TokenPrompt(session),
];

function render(state) {
  const now = daemonNow(state);
  document.documentElement.dataset.role = state.role ?? "none";
  document.documentElement.dataset.phase = state.connection.phase;
  for (const view of views) view.update(state, now);
}

store.subscribe(render);
setInterval(() => document.hidden || render(store.state), TICK_MS);
at("add-camera").addEventListener("click", () => forms.addCamera());
session.start();
