"""Memory and speed of training a transformer: adapters, checkpointed gradients, all weights.

A vision transformer with random weights, small unless asked for otherwise, takes some steps in a
process of its own for each way. Memory is what the process has at most beyond what it had with the
encoder loaded.

    python benchmarks/adapters.py --width 384 --blocks 12 --tiles 32
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = ("adapters", "adapters, checkpointed", "all weights")


def measure(way: str, folder: Path, tiles: int, steps: int) -> dict[str, float]:
    """Peak memory in MB and tiles per second of some steps."""
    import torch

    from napari_nh2st.model.encoders.adapters import adapter_parameters
    from napari_nh2st.model.encoders.key import parse_key
    from napari_nh2st.model.encoders.readers import read_encoder

    encoder = read_encoder(parse_key(f"transformers:{folder}?mean=0.5,0.5,0.5&std=0.5,0.5,0.5"))
    if way == WAYS[2]:
        trained = list(encoder.requires_grad_(True).parameters())
    else:
        encoder.requires_grad_(False).adapt(8, 0)
        trained = list(adapter_parameters(encoder))
        for parameter in trained:
            parameter.requires_grad_(True)
    if way == WAYS[1]:
        encoder.checkpoint_gradients()
    optimizer = torch.optim.AdamW(trained)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    side, seconds = encoder.spec.tile_px, []
    for _ in range(steps):
        began = time.perf_counter()
        encoder(torch.rand(tiles, 3, side, side)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "MB": (peak - before) / 1024,
        "tiles/s": tiles / min(seconds),
        "trained": sum(parameter.numel() for parameter in trained),
    }


def write_encoder(folder: Path, width: int, blocks: int) -> None:
    """A DINOv2 of 16 heads' usual width each, random weights, for tiles of 224 px."""
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=width // 64,
        image_size=224,
        patch_size=14,
    )
    transformers.AutoModel.from_config(config).save_pretrained(folder)


def main() -> None:
    """Print a table with a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("width", 384), ("blocks", 12), ("tiles", 32), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way is not None:
        print(json.dumps(measure(args.way, args.folder, args.tiles, args.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(Path(folder), args.width, args.blocks)
        print(f"{'':24} {'trained':>12} {'memory, MB':>12} {'tiles/s':>10}")
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", folder]
            command += ["--tiles", str(args.tiles), "--steps", str(args.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(output.splitlines()[-1])
            print(f"{way:24} {row['trained']:12,} {row['MB']:12,.0f} {row['tiles/s']:10.2f}")


if __name__ == "__main__":
    main()
