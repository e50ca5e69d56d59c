/** The picture behind an alert. With a token it has to be fetched by hand, since an <img> sends no Authorization. */

const PATH = /^\/v1\/evidence\/[A-Za-z0-9_.-]+$/;

/**
 * Show the picture in `img`; true when it could be had.
 *
 * token: null when the daemon asks for none. The object URL of a fetched picture is given back once it is decoded.
 */
export async function showEvidence(img, path, token) {
  if (typeof path !== "string" || !PATH.test(path)) return false;
  if (token === null) return shown(img, path);
  let url;
  try {
    const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` } });
    if (!response.ok) return false;
    url = URL.createObjectURL(await response.blob());
  } catch (error) {
    if (error instanceof TypeError) return false; // fetch's word for "no network"
    throw error;
  }
  try {
    return await shown(img, url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function shown(img, src) {
  return new Promise((resolve) => {
    img.addEventListener("load", () => resolve(true), { once: true });
    img.addEventListener("error", () => resolve(false), { once: true });
    img.src = src;
  });
}
