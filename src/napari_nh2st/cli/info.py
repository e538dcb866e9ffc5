"""``nh2st info``: what a slide is."""

import argparse

from napari_nh2st.cli.options import add_image, add_json
from napari_nh2st.cli.output import print_json, print_table
from napari_nh2st.remote import slide_path


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st info``."""
    command.add_argument("slide", type=slide_path, help="slide to look at, or its URL")
    command.add_argument("--mpp", type=float, metavar="X", help="µm/px, if you know better")
    add_image(command)
    add_json(command)


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st info``."""
    from napari_nh2st.slide import open_slide

    with open_slide(args.slide, mpp=args.mpp, image=args.image) as slide:
        mpp = list(slide.mpp) if slide.mpp else None
        native = slide.n_native_levels
        levels = [
            {"height": level.shape[0], "width": level.shape[1], "downsample": list(downsample)}
            for level, downsample in zip(slide.levels, slide.downsamples, strict=True)
        ][:native]
        if args.json:
            print_json(
                {
                    "path": str(slide.path),
                    "vendor": slide.vendor,
                    "height": slide.shape[0],
                    "width": slide.shape[1],
                    "mpp": mpp,
                    "mpp_source": slide.mpp_source,
                    "levels": levels,
                    "associated": sorted(slide.associated),
                    "brightfield": slide.brightfield,
                    "brightfield_reason": slide.brightfield_reason,
                    "fingerprint": slide.fingerprint,
                    "bounds": None if slide.bounds is None else list(slide.bounds),
                    "notices": list(slide.notices),
                    "image": slide.image,
                    "images": [
                        {
                            "name": image.name,
                            "height": image.shape[0],
                            "width": image.shape[1],
                            "brightfield": image.brightfield,
                        }
                        for image in slide.images
                    ],
                }
            )
            return
        resolution = "unknown: give --mpp when predicting"
        size = ""
        if slide.mpp:
            resolution = f"{slide.mpp[1]:.4g} × {slide.mpp[0]:.4g} (x × y), {slide.mpp_source}"
            height, width = (n * um / 1000 for n, um in zip(slide.shape, slide.mpp, strict=True))
            size = f" ({width:.2f} × {height:.2f} mm)"
        shown = [
            f"{level['width']} × {level['height']} px (1/{max(downsample):.4g})"
            for level, downsample in zip(levels, slide.downsamples, strict=False)
        ]
        several = []
        if len(slide.images) > 1:
            several = [(f"image {i}", str(image)) for i, image in enumerate(slide.images)]
            several.insert(0, ("image", f"{slide.image} (--image opens another)"))
        if slide.bounds is not None:
            y, x, height, width = slide.bounds
            several.append(("scanned", f"{width} × {height} px, from ({x}, {y}) on"))
        print_table(
            [
                ("slide", str(slide.path)),
                ("vendor", slide.vendor),
                ("size", f"{slide.shape[1]} × {slide.shape[0]} px{size}"),
                ("µm/px", resolution),
                ("levels", f"{native}: {', '.join(shown)}"),
                ("associated", ", ".join(sorted(slide.associated)) or "none"),
                ("brightfield", "yes" if slide.brightfield else f"no: {slide.brightfield_reason}"),
                *several,
                *(("notice", notice) for notice in slide.notices),
            ]
        )
