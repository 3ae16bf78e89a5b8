"""Brain-Score's public storage on loopback: small assemblies of its format, behind moto's S3 server.

Everything is packed by Brain-Score's own packaging functions (netCDF of an assembly whose indexes were reset, a zip
of stimuli and a csv) and fetched by its own loading functions: nothing of the loading is replaced. What has to be
replaced, since the contents are others, is the four lines of the registry that name sha1 and version ids (`stand_in`)
and the table of expected counts. The bucket is versioned, since moto knows no version "null" of an unversioned one.
"""

import http.server
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BUCKET, FOLDER = "brainscore-storage", "brainio-brainscore"
FREEMAN, MAJAJ = "FreemanZiemba2013.public", "MajajHong2015.public"
STIMULI = {FREEMAN: "FreemanZiemba2013.aperture-public", MAJAJ: "hvm-public"}
ASSEMBLY = {FREEMAN: "movshon.FreemanZiemba2013.public", MAJAJ: "dicarlo.MajajHong2015.public"}
# (stimuli, neuroids) of the stand-ins by region
COUNTS = {"V1": (48, 6), "V2": (48, 5), "V4": (60, 7), "IT": (60, 6)}


@dataclass
class StandIn:
    """One data set of the storage. files: kind ('nc', 'csv', 'zip') -> path; trials: (stimuli, repetitions, neuroids)
    in the order of `ids`, averaged over the time bins of the benchmark's window, NaN where not shown."""

    dataset: str
    files: dict[str, Path]
    sha1: dict[str, str]
    ids: list[str]
    labels: list[str]
    images: dict[str, np.ndarray]
    trials: np.ndarray
    regions: list[str]
    versions: dict[str, str] = field(default_factory=dict)

    def key(self, kind: str) -> str:
        """The object's name in the bucket."""
        return f"{FOLDER}/{self.files[kind].name}"


def freeman(folder: Path, seed: int = 0) -> StandIn:
    """48 grey images of 40 px, 4 repetitions, 6 V1 and 5 V2 neurons, 1-ms bins from 40 to 210 ms; the csv and the
    assembly say `image_id`, as those of old packages do."""
    rng = np.random.default_rng(seed)
    n, repetitions, regions = COUNTS["V1"][0], 4, ["V1"] * COUNTS["V1"][1] + ["V2"] * COUNTS["V2"][1]
    # Not in alphabetical order: whoever pairs images and responses by place must be found out.
    ids = [f"tex{i:03d}" for i in rng.permutation(n)]
    kinds = ["texture" if i % 2 else "noise" for i in range(n)]
    images = {name: _image(rng, 40, grey=True) for name in ids}
    signal = _signal(rng, images, ids, len(regions))
    bins = list(range(40, 210))
    spikes = rng.poisson(0.3 + 0.2 * np.clip(signal, 0, 4)[:, None, :, None], (n, repetitions, len(regions), len(bins)))
    # Outside of the window the counts are another thing altogether.
    outside = np.array([not 50 <= b < 200 for b in bins])
    spikes[..., outside] += 50
    values = spikes.reshape(n * repetitions, len(regions), len(bins)).astype(float)
    coords = {
        "image_id": ("presentation", np.repeat(ids, repetitions)),
        "repetition": ("presentation", np.tile(np.arange(repetitions), n)),
        "neuroid_id": ("neuroid", [f"neuron{i}" for i in range(len(regions))]),
        "region": ("neuroid", regions),
        "time_bin_start": ("time_bin", bins),
        "time_bin_end": ("time_bin", [b + 1 for b in bins]),
    }
    table = {"image_id": ids, "texture_type": kinds, "texture_family": [i % 6 for i in range(n)]}
    trials = spikes[..., ~outside].mean(-1)
    return _pack(folder, FREEMAN, images, table, values, coords, trials, regions, kinds, rng)


def majaj(folder: Path, seed: int = 1) -> StandIn:
    """60 colour images of 64 px of 4 objects, 5 or 6 repetitions, 7 V4 and 6 IT sites, one bin 70-170 ms."""
    rng = np.random.default_rng(seed)
    n, regions = COUNTS["V4"][0], ["V4"] * COUNTS["V4"][1] + ["IT"] * COUNTS["IT"][1]
    ids = [f"hvm{i:03d}" for i in rng.permutation(n)]
    names = [f"object{i % 4}" for i in range(n)]
    images = {name: _image(rng, 64) for name in ids}
    signal = _signal(rng, images, ids, len(regions))
    shown = rng.integers(5, 7, n)
    trials = np.full((n, 6, len(regions)), np.nan)
    for i in range(n):
        trials[i, : shown[i]] = signal[i] + 0.5 * rng.standard_normal((shown[i], len(regions)))
    there = np.argwhere(np.isfinite(trials[:, :, 0]))
    rng.shuffle(there)
    coords = {
        "stimulus_id": ("presentation", [ids[i] for i, _ in there]),
        "repetition": ("presentation", [int(r) for _, r in there]),
        "neuroid_id": ("neuroid", [f"Chabo_{i}" for i in range(len(regions))]),
        "animal": ("neuroid", ["Chabo" if i % 2 else "Tito" for i in range(len(regions))]),
        "region": ("neuroid", regions),
        "time_bin_start": ("time_bin", [70]),
        "time_bin_end": ("time_bin", [170]),
    }
    values = trials[there[:, 0], there[:, 1]][:, :, None]
    table = {"stimulus_id": ids, "object_name": names, "image_label": names, "variation": [3] * n}
    return _pack(folder, MAJAJ, images, table, values, coords, trials, regions, names, rng)


def _image(rng: np.random.Generator, size: int, grey: bool = False) -> np.ndarray:
    coarse = rng.integers(0, 256, (4, 4) if grey else (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def _signal(rng: np.random.Generator, images: dict[str, np.ndarray], ids: list[str], n: int) -> np.ndarray:
    """Responses that the images explain: random directions among the pixels, variance 1."""
    x = np.stack([images[name].astype(float).reshape(-1) for name in ids])
    y = (x - x.mean(0)) @ rng.standard_normal((x.shape[1], n))
    return y / y.std(0)


def _pack(
    folder: Path, dataset: str, images: dict[str, np.ndarray], table: dict[str, list], values: np.ndarray,
    coords: dict[str, Any], trials: np.ndarray, regions: list[str], labels: list[str], rng: np.random.Generator,
) -> StandIn:  # fmt: skip
    from brainscore_core.supported_data_standards.brainio import packaging
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuronRecordingAssembly
    from brainscore_core.supported_data_standards.brainio.stimuli import StimulusSet

    originals = folder / "originals" / dataset
    originals.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(originals / f"{name}.png")
    ids = list(images)
    proto = StimulusSet({"stimulus_id": ids, **table})
    proto.stimulus_paths = {name: originals / f"{name}.png" for name in ids}
    store = folder / ("stimulus_" + STIMULI[dataset].replace(".", "_"))
    files = {"zip": store.with_suffix(".zip"), "csv": store.with_suffix(".csv")}
    files["nc"] = folder / ("assy_" + ASSEMBLY[dataset].replace(".", "_") + ".nc")
    zip_sha1, proto["filename"] = packaging.create_stimulus_zip(proto, str(files["zip"]))
    legacy = proto.drop(columns="stimulus_id") if "image_id" in proto else proto
    # The table is in another order than the assembly, as nothing promises one.
    csv_sha1 = packaging.create_stimulus_csv(legacy.sample(frac=1, random_state=3), str(files["csv"]))
    assembly = NeuronRecordingAssembly(values, coords=coords, dims=["presentation", "neuroid", "time_bin"])
    sha1 = {"zip": zip_sha1, "csv": csv_sha1, "nc": packaging.write_netcdf(assembly, files["nc"])}
    return StandIn(dataset, files, sha1, ids, labels, images, trials, regions)


@contextmanager
def storage(*stand_ins: StandIn) -> Iterator[str]:
    """The address of an S3 server that holds the stand-ins, readable by everyone; their `versions` are filled in."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for stand_in in stand_ins:
            for kind in stand_in.files:
                put(client, stand_in, kind, stand_in.files[kind].read_bytes())
        yield address
    finally:
        server.stop()


def put(client: Any, stand_in: StandIn, kind: str, content: bytes) -> None:
    """Store content as the stand-in's object; whoever asks by version id from now on gets this."""
    answer = client.put_object(Bucket=BUCKET, Key=stand_in.key(kind), Body=content, ACL="public-read")
    stand_in.versions[kind] = answer["VersionId"]


def register(stand_in: StandIn, setitem: Callable[[dict, str, Any], None]) -> None:
    """The two registry lines of Brain-Score's data plugin that name sha1 and version, with the stand-in's.

    setitem: monkeypatch.setitem. The plugin is imported first, since importing it writes these lines.
    """
    import brainscore_vision
    from brainscore_core.plugin_management.import_plugin import import_plugin
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuronRecordingAssembly
    from brainscore_core.supported_data_standards.brainio.s3 import load_assembly_from_s3, load_stimulus_set_from_s3

    import_plugin("brainscore_vision", "data", stand_in.dataset)
    stimuli = STIMULI[stand_in.dataset]
    setitem(brainscore_vision.data_registry, stand_in.dataset, lambda: load_assembly_from_s3(
        identifier=ASSEMBLY[stand_in.dataset], version_id=stand_in.versions.get("nc"), sha1=stand_in.sha1["nc"],
        bucket=f"{BUCKET}/{FOLDER}", cls=NeuronRecordingAssembly,
        stimulus_set_loader=lambda: brainscore_vision.load_stimulus_set(stimuli),
    ))  # fmt: skip
    setitem(brainscore_vision.stimulus_set_registry, stimuli, lambda: load_stimulus_set_from_s3(
        identifier=stimuli, bucket=f"{BUCKET}/{FOLDER}", csv_sha1=stand_in.sha1["csv"], zip_sha1=stand_in.sha1["zip"],
        csv_version_id=stand_in.versions.get("csv"), zip_version_id=stand_in.versions.get("zip"),
    ))  # fmt: skip


def fill_cache(home: Path, *stand_ins: StandIn) -> None:
    """Put the files where Brain-Score keeps what it has downloaded: no server is needed then."""
    for stand_in in stand_ins:
        for kind, path in stand_in.files.items():
            (home / stand_in.sha1[kind]).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, home / stand_in.sha1[kind])


@contextmanager
def cutting(address: str, suffix: str, keep: int) -> Iterator[str]:
    """The address of a server that passes everything on, but closes the connection after `keep` bytes of a file
    whose name ends in `suffix`, having announced all of it."""

    class Cutting(http.server.BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            request = urllib.request.Request(address + self.path, method=self.command)
            for name in ("Range", "x-amz-checksum-mode"):
                if self.headers.get(name):
                    request.add_header(name, self.headers[name])
            try:
                answer = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("connection", "server", "date", "transfer-encoding"):
                        self.send_header(name, value)
                self.end_headers()
                cut = self.command == "GET" and self.path.split("?")[0].endswith(suffix)
                self.wfile.write(content[:keep] if cut else content)
                self.close_connection = True

        do_GET = do_HEAD = pass_on

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cutting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
