// Homographies, row by row in nine numbers, that map input pixels to output pixels; pixel centres are whole numbers.

/** Of a picture (width, height) onto four corners, each [x, y] of the border: upper left, then clockwise. */
export function ofCorners(width, height, corners) {
  const rows = [];
  const given = [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]];
  given.forEach(([x, y], index) => {
    const [u, v] = corners[index].map((value) => value - 0.5);
    rows.push([x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]);
  });
  const solution = solve(rows);
  return solution && [...solution, 1];
}

/** Gauss-Jordan elimination of rows [coefficients..., right side]; null where there is no single solution. */
function solve(rows) {
  const count = rows.length;
  for (let column = 0; column < count; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < count; row += 1) {
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    }
    if (Math.abs(rows[pivot][column]) < 1e-10) return null;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = 0; row < count; row += 1) {
      if (row === column) continue;
      const factor = rows[row][column] / rows[column][column];
      for (let index = column; index <= count; index += 1) rows[row][index] -= factor * rows[column][index];
    }
  }
  return rows.map((row, index) => row[count] / row[index]);
}

/** The same map onto an output that is `factor` times as large. */
export function scaled(matrix, factor) {
  const shift = (factor - 1) / 2;
  const [a, b, c, d, e, f, g, h, i] = matrix;
  return [
    factor * a + shift * g, factor * b + shift * h, factor * c + shift * i,
    factor * d + shift * g, factor * e + shift * h, factor * f + shift * i,
    g, h, i,
  ];
}

/** Where the corners of a picture come to lie: [x, y] of the border. */
export function cornersOf(matrix, width, height) {
  return [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]].map(([x, y]) => {
    const depth = matrix[6] * x + matrix[7] * y + matrix[8];
    return [0, 3].map((row) => (matrix[row] * x + matrix[row + 1] * y + matrix[row + 2]) / depth + 0.5);
  });
}

/** Whether four corners are in order around a convex shape of some size, so that a camera could see it. */
export function isConvex(corners) {
  const turns = corners.map(([x, y], index) => {
    const [[nextX, nextY], [lastX, lastY]] = [corners[(index + 1) % 4], corners[(index + 3) % 4]];
    return (nextX - x) * (lastY - y) - (nextY - y) * (lastX - x);
  });
  return turns.every((turn) => turn > 40) || turns.every((turn) => turn < -40);
}

/** Nine numbers; what is left of 0 after rounding is 0. */
export const textOf = (matrix) =>
  matrix.map((value) => String(Math.abs(value) < 1e-14 ? 0 : Number(value.toPrecision(12)))).join(",");
