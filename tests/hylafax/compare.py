#!/usr/bin/python3
"""Compares a received fax TIFF with the PDF that was sent, page by page.

    compare.py SOURCE.pdf RECEIVED.tif [--dpi=60] [--pages=N]

Both are rendered to grey at the same size (pdftoppm, Pillow), the top 3 % is
blanked (the sender's tag line), the pages are aligned over small shifts, and the Pearson
correlation of darkness is printed, together with the best *other* page as a control.
Exit status 0 when the page counts agree and every page correlates at 0.8 or better and
with itself best, under a header line."""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence


def render_pdf(path, dpi):
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["pdftoppm", "-gray", "-r", str(dpi), path, d + "/p"], check=True)
        return [255.0 - np.asarray(Image.open(p), dtype=float) for p in sorted(Path(d).glob("p*.pgm"))]


def render_tiff(path, shapes):
    """HylaFAX scales the page onto the fax raster (1728 columns, whatever the paper), so
    the received page is mapped edge to edge onto the rendering of the page sent."""
    pages = []
    with Image.open(path) as im:
        for i, frame in enumerate(ImageSequence.Iterator(im)):
            h, w = shapes[min(i, len(shapes) - 1)]
            pages.append(255.0 - np.asarray(frame.convert("L").resize((w, h), Image.BOX), dtype=float))
    return pages


def correlation(a, b, reach=12):
    """Best Pearson correlation over shifts of up to reach pixels each way."""
    h, w = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    best = (-1.0, 0, 0)
    m = reach
    core = a[m:h - m, m:w - m]
    ca = core - core.mean()
    na = np.sqrt((ca * ca).sum())
    for step, span in ((4, range(-m, m + 1, 4)), (1, None)):
        centre = best
        ys = span if span is not None else range(centre[1] - 3, centre[1] + 4)
        xs = span if span is not None else range(centre[2] - 3, centre[2] + 4)
        for dy in ys:
            for dx in xs:
                if abs(dy) > m or abs(dx) > m:
                    continue
                cut = b[m + dy:h - m + dy, m + dx:w - m + dx]
                cb = cut - cut.mean()
                nb = np.sqrt((cb * cb).sum())
                r = float((ca * cb).sum() / (na * nb)) if na and nb else 0.0
                if r > best[0]:
                    best = (r, dy, dx)
    return best


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    opts = dict(a[2:].split("=") for a in sys.argv[1:] if a.startswith("--"))
    dpi = int(opts.get("dpi", 60))
    src = render_pdf(args[0], dpi)
    got = render_tiff(args[1], [s.shape for s in src])
    headers = [float(page[: int(page.shape[0] * 0.03)].mean()) for page in got]
    for page in src + got:      # the strip the tag line is printed in
        page[: int(page.shape[0] * 0.03)] = 0
    want = int(opts.get("pages", len(src)))
    ok = len(got) == want
    print(f"pages: sent {len(src)}, received {len(got)}, expected {want}")
    for i, g in enumerate(got):
        rs = [correlation(s, g) for s in src]
        own = rs[i] if i < len(rs) else (-1, 0, 0)
        other = max((r[0] for j, r in enumerate(rs) if j != i), default=0)
        ink = (g.mean() / src[i].mean()) if i < len(src) and src[i].mean() else 0
        good = own[0] >= 0.8 and own[0] > other and headers[i] > 1
        ok &= good
        print(f"page {i + 1}: r={own[0]:.3f} shift=({own[1]},{own[2]}) other page at best r={other:.3f} "
              f"ink ratio={ink:.2f} header ink={headers[i]:.1f} {'ok' if good else 'DIFFERENT'}")
    sys.exit(0 if ok else 1)


main()
