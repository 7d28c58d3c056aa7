const list = document.querySelector("#entries");
const footer = document.querySelector("footer");

function line(entry) {
  const item = document.createElement("li");
  item.textContent = `${entry.author}: ${entry.text}`;
  return item;
}

async function show() {
  const { entries, summary } = await (await fetch("/api/entries")).json();
  const { version } = await (await fetch("/api/version")).json();
  list.replaceChildren(...entries.map(line));
  footer.textContent = `API ${version}, ${summary.entries ?? 0} entries`;
}

document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const entry = Object.fromEntries(new FormData(event.target));
  await fetch("/api/entries", { method: "POST", body: JSON.stringify(entry) });
  event.target.reset();
  await show();
});

show();
