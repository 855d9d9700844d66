/* Pictures that a shopper drops, pastes or picks: made small enough to send, and kept for this tab. */

const LONGEST_SIDE = 768;  // encoders look at 96 to 384 pixels; more is only upload time
const SENT_AS_IS = 400_000;
const KEPT = "morelike-picture-";

/** Reads `file` as {id, name, data (base64), preview (data: address)}; rejects what the browser cannot show. */
export async function readPicture(file) {
  const bitmap = await createImageBitmap(file);
  const small = file.size <= SENT_AS_IS && /^image\/(jpeg|png|webp|gif)$/.test(file.type);
  const sent = small ? await dataUrl(file) : drawn(bitmap, LONGEST_SIDE, 0.9);
  const preview = drawn(bitmap, 96, 0.8);
  bitmap.close();
  const id = String(Date.now());
  return {id, name: file.name || "", data: sent.slice(sent.indexOf(",") + 1), preview};
}

function drawn(bitmap, side, quality) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", quality);
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** Pictures of this tab, so that Back and reload find them; the last few survive a reload. */
export class Pictures {
  constructor() {
    this.all = new Map();
  }

  keep(picture) {
    this.all.set(picture.id, picture);
    try {
      const kept = Object.keys(sessionStorage).filter((key) => key.startsWith(KEPT)).sort();
      for (const old of kept.slice(0, Math.max(0, kept.length - 3))) sessionStorage.removeItem(old);
      sessionStorage.setItem(KEPT + picture.id, JSON.stringify(picture));
    } catch {
      // no storage, or no room in it: the picture is found until the page is left
    }
  }

  find(id) {
    if (this.all.has(id)) return this.all.get(id);
    try {
      return JSON.parse(sessionStorage.getItem(KEPT + id));
    } catch {
      return null;
    }
  }
}

/** What a drop or paste carries: {file}, {url}, {productId} or null. */
export function carried(transfer) {
  if (!transfer) return null;
  const productId = transfer.getData("application/x-morelike-product");
  if (productId) return {productId};
  const file = [...transfer.files].find((one) => one.type.startsWith("image/"));
  if (file) return {file};
  if (transfer.files.length) return {file: transfer.files[0]};
  const url = transfer.getData("text/uri-list").split("\n").find((line) => /^https?:/.test(line));
  return url ? {url: url.trim()} : null;
}
