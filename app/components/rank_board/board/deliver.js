import { decodeCurves, nameOf } from "../port/curves.js";
import { shelf } from "./shelf.js";

export default function deliver({ data }) {
  if (!(data instanceof Uint8Array)) return;
  const entry = shelf(nameOf(data));
  if (entry.delivered) return;
  entry.delivered = true;
  decodeCurves(data).then(entry.resolve, entry.reject);
}
