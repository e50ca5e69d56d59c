/** The token of this tab: in sessionStorage only, so that it is gone with the tab, and never in a URL. */

const KEY = "vigil.token";

export const tokens = {
  get: () => sessionStorage.getItem(KEY),
  set: (token) => sessionStorage.setItem(KEY, token),
  clear: () => sessionStorage.removeItem(KEY),
};
