// Files as one .zip; nothing is compressed, for pictures are already.

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** Little-endian numbers, each [value, bytes]. */
const packed = (...numbers) =>
  Uint8Array.from(numbers.flatMap(([value, bytes]) => Array.from({ length: bytes }, (_, index) => (value / 256 ** index) & 255)));

/** Of `files`, each {name, content: Uint8Array}, below 4 GiB in all; a name that is there twice gets a number. */
export async function zipped(files) {
  const [parts, directory, names] = [[], [], new Set()];
  let offset = 0;
  for (const { name, content } of files) {
    let [unique, number] = [name, 1];
    while (names.has(unique)) unique = name.replace(/(\.\w+)?$/, `-${(number += 1)}$1`);
    names.add(unique);
    const encoded = new TextEncoder().encode(unique);
    // version 2.0, UTF-8 names, stored, 1980-01-01
    const about = packed([20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [checksum(content), 4], [content.length, 4], [content.length, 4], [encoded.length, 2], [0, 2]);
    const entry = [packed([0x04034b50, 4]), about, encoded, content];
    parts.push(...entry);
    directory.push(packed([0x02014b50, 4], [20, 2]), about, packed([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), encoded);
    offset += entry.reduce((sum, part) => sum + part.length, 0);
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
