// GitHub wants the text in base64, and for a file that is there already the SHA of what is replaced.
export default async function ({ owner, repo, path, content, message, branch }, { accounts }) {
  const segments = [owner, repo, "contents", ...path.split("/").filter((segment) => segment !== "")];
  const file = "/repos/" + segments.map(encodeURIComponent).join("/");
  const at = branch ? "?ref=" + encodeURIComponent(branch) : "";

  const found = await accounts.account.fetch(file + at);
  let sha;
  if (found.ok) {
    const old = await found.json();
    if (Array.isArray(old)) throw new Error(`${path} is a folder`);
    sha = old.sha;
  } else if (found.status !== 404) {
    throw new Error(`GitHub answered ${found.status}: ${await found.text()}`);
  }

  const body = { message, content: base64(content) };
  if (sha) body.sha = sha;
  if (branch) body.branch = branch;
  const written = await accounts.account.fetch(file, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!written.ok) throw new Error(`GitHub answered ${written.status}: ${await written.text()}`);
  const { content: now, commit } = await written.json();
  return { path: now.path, sha: now.sha, url: now.html_url, commit: commit.sha, created: sha === undefined };
}

function base64(text) {
  const bytes = new TextEncoder().encode(text);
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}
