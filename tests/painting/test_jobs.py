"""Which pictures are meant, and where their results go."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from painting.jobs import Job, check_outputs, find_jobs, part_of, remaining, shard_of
from painting.request import Request
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("empty_folder")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs: str, output: str | None = "out", **options: object) -> list[Job]:
    request = Request(scale=(2, 2), input=inputs, output=output, **options)
    jobs = find_jobs(request)
    check_outputs(jobs, request)
    return jobs


def pairs(*inputs: str, **options: object) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in found(*inputs, **options)}


def test_no_two_results_have_one_name() -> None:
    touch("in/a.png", "in/a.jpg", "in/a.png.png", "in/B.png", "in/b.webp", "in/c.png")
    assert pairs("in") == {
        "in/B.png": "out/B.png.png",
        "in/a.jpg": "out/a.jpg.png",
        "in/a.png": "out/a.png.png",
        "in/a.png.png": "out/a.png.png.png",
        "in/b.webp": "out/b.webp.png",
        "in/c.png": "out/c.png",
    }


def test_folders_are_mirrored_and_results_are_no_inputs() -> None:
    touch("in/a.png", "in/x/a.png", "in/x/y/b.jpg", "in/out/a.png", "in/.hidden/c.png", "in/x/notes.txt")
    os.symlink("..", "in/x/up")
    assert pairs("in", output="in/out", format="webp", suffix="_x4") == {
        "in/a.png": "in/out/a_x4.webp",
        "in/x/a.png": "in/out/x/a_x4.webp",
        "in/x/y/b.jpg": "in/out/x/y/b_x4.webp",
    }


def test_several_inputs() -> None:
    touch("one/a.png", "two/a.png", "two/deep/b.png", "c.png", "p/q/d.png", "p/q/r/e.png")
    assert pairs("one", "two", "c.png", "p/**/*.png") == {
        "one/a.png": "out/one/a.png",
        "two/a.png": "out/two/a.png",
        "two/deep/b.png": "out/two/deep/b.png",
        "c.png": "out/c.png",
        "p/q/d.png": "out/q/d.png",
        "p/q/r/e.png": "out/q/r/e.png",
    }
    with pytest.raises(InputError, match=r"one/a\.png and two/a\.png would both be written to out/a\.png"):
        pairs("one/a.png", "two/a.png")


def test_tars() -> None:
    touch("s/008.tar", "s/009.tar", "s/010.tar", "a.png")
    expected = {f"s/0{number}.tar": f"out/0{number}.tar" for number in ("08", "09", "10")}
    assert pairs("s/{008..010}.tar") == pairs("s/*.tar") == expected
    assert pairs("s/010.tar", output=None) == {"s/010.tar": "output.tar"}
    assert found("s/010.tar", output="o.tar", format="webp")[0].form.name == "WEBP"
    for inputs, options, words in (
        (["s/010.tar"], {"output": "o.png"}, "holds several"),
        (["s/010.tar"], {"output": "-"}, "holds several"),
        (["a.png"], {"output": "o.tar"}, "no format"),
        (["s/{010..011}.tar"], {}, "no picture s/011.tar"),
        (["s/{5..1}.tar"], {}, "counts upwards"),
        (["s/{0..9999}{0..9999}.tar"], {}, "at most 1,000,000 names"),
        (["s/*.tar"], {"output": "o.tar"}, "name a folder"),
        (["s/*.tar"], {"compare": True}, "--compare"),
    ):
        with pytest.raises(InputError, match=words):
            found(*inputs, **options)


def test_one_input() -> None:
    touch("a.png", "[1].png", "there/x.txt")
    assert pairs("a.png", output=None) == {"a.png": "output.png"}
    assert pairs("a.png", output=None, format="jpg") == {"a.png": "output.jpg"}
    assert pairs("a.png", output="b.tif") == {"a.png": "b.tif"}
    assert pairs("a.png", output="there") == {"a.png": "there/a.png"}
    assert pairs("a.png", output="new/", suffix="_2") == {"a.png": "new/a_2.png"}
    assert pairs("[1].png", output="b.png") == {"[1].png": "b.png"}
    assert pairs("-", output=None) == {"-": "-"}
    assert pairs("-", output="b.png") == {"-": "b.png"}
    assert found("a.png", output="-", format="jpg")[0].form.name == "JPEG"


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (["nothere.png"], {}, "no picture nothere.png"),
        (["in/*.gif"], {}, "no pictures match"),
        (["empty"], {}, "no pictures in empty"),
        (["in"], {"output": "in"}, "overwritten"),
        (["in"], {"output": "in/a.png"}, "is a file"),
        (["in"], {"output": "-"}, "name a folder"),
        (["-", "in"], {}, "one picture"),
        (["in/a.png", "in/b.png"], {"output": "o.png"}, "one picture"),
        (["in/a.png"], {"output": "b.png", "suffix": "_x4"}, "--suffix"),
        (["in/a.png"], {"output": "b.png", "format": "jpg"}, "two formats"),
        (["in/a.png", "in/b.png"], {"output": "in"}, "would overwrite the input"),
    ],
)
def test_mistakes(inputs, options, words) -> None:
    touch("in/a.png", "in/b.png")
    Path("empty").mkdir()
    with pytest.raises(InputError, match=words):
        pairs(*inputs, **options)


def test_results_beside_the_originals() -> None:
    """Results of an earlier run are no inputs."""
    touch("in/a.png", "in/deep/b.jpg", "in/a_x2.png")
    assert pairs("in", output="in", suffix="_x2") == {"in/a.png": "in/a_x2.png", "in/deep/b.jpg": "in/deep/b_x2.png"}
    assert pairs("in/a.png", output=None, suffix="_x2") == {"in/a.png": "in/a_x2.png"}
    assert pairs("in/a.png", output=None, suffix="_x2", format="jpg") == {"in/a.png": "in/a_x2.jpg"}
    assert pairs("in", output="out", suffix="_x2")["in/a_x2.png"] == "out/a_x2_x2.png"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_left_out_of_folders_and_refused_alone() -> None:
    touch("in/a.png")
    os.mkfifo("in/pipe.png")
    assert list(pairs("in")) == ["in/a.png"]
    with pytest.raises(InputError, match="pipe"):
        pairs("in/pipe.png", output="o.png")


def test_results_that_are_there() -> None:
    touch("in/a.png", "in/b.png", "out/a.png")
    jobs, plain = found("in"), Request(scale=(2, 2))
    assert remaining(jobs, replace(plain, overwrite=True)) == jobs
    assert [str(job.source) for job in remaining(jobs, replace(plain, skip_existing=True))] == ["in/b.png"]
    with pytest.raises(InputError, match="1 of 2 results are there already"):
        remaining(jobs, plain)


def test_parts_are_all_pictures_once() -> None:
    touch(*(f"in/{number}.png" for number in range(40)))
    jobs = found("in")
    parts = [part_of(jobs, (part, 3)) for part in (1, 2, 3)]
    assert sorted(str(job.source) for part in parts for job in part) == [str(job.source) for job in jobs]
    assert all(5 < len(part) < 25 for part in parts)
    assert part_of(jobs[::2], (2, 3)) == [job for job in parts[1] if job in jobs[::2]]  # whichever others there are
    assert part_of(jobs, None) == jobs


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, (3, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "14",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            (3, 3),
        ),
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "x"}, None),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "9"}, (1, 9)),
        ({"JOB_COMPLETION_INDEX": "0"}, None),
    ],
)
def test_job_arrays_say_which_part(monkeypatch, variables, expected) -> None:
    touch("in/a.png", "in/b.png")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    several, into_folder, into_file = (
        Request(scale=(2, 2), input=(source,), output=target)
        for source, target in (("in", "out"), ("in/a.png", "out/"), ("in/a.png", "out.png"))
    )
    assert shard_of(several, find_jobs(several)) == shard_of(into_folder, find_jobs(into_folder)) == expected
    assert shard_of(into_file, find_jobs(into_file)) is None  # each task of the array names a picture of its own
    asked = replace(several, shard=(2, 2))
    assert shard_of(asked, find_jobs(asked)) == (2, 2)


@pytest.mark.parametrize(
    ("index", "count", "shard", "output", "words"),
    [
        ("3", "3", None, "out", "part 4 of 3"),
        ("0", "0", None, "out", "part 1 of 0"),
        ("", "", (0, 2), "out", "part 0 of 2"),
        ("", "", (1, 2), "out.png", "give --output a folder"),
    ],
)
def test_parts_that_there_are_not(monkeypatch, index, count, shard, output, words) -> None:
    """They would make nothing, in silence."""
    touch("in/a.png")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    monkeypatch.setenv("JOB_COMPLETIONS", count)
    request = Request(scale=(2, 2), input=("in/a.png" if "." in output else "in",), output=output, shard=shard)
    with pytest.raises(InputError, match=words):
        shard_of(request, find_jobs(request))
