"""A working tree with workflows that are quick to run and show one thing each."""

import subprocess
from pathlib import Path

SAMPLE = Path(__file__).parents[3] / ".github" / "workflows" / "spell-execution-example.yml"

WORKFLOWS = {
    "quick.yml": """
name: Quick
run-name: quick [cast:${{ inputs.cast_id }}]
on:
  workflow_dispatch:
    inputs:
      cast_id: {type: string, required: true}
      mode: {type: choice, options: [calm, wild]}
      flag: {type: boolean, default: false}
jobs:
  one:
    name: Only job
    runs-on: ubuntu-latest
    steps:
      - name: Speak
        env: {SAID: "${{ inputs.cast_id }}"}
        run: |
          echo "said: $SAID"
          env | sort
""",
    "fails.yml": """
name: Fails
on: workflow_dispatch
jobs:
  breaks:
    runs-on: ubuntu-latest
    steps:
      - run: echo fine
      - name: Break
        run: |
          echo "::error file=a.py,line=3::it broke%0Abadly"
          exit 3
      - run: echo never
      - name: Tidy up
        if: always()
        run: echo tidied
  later:
    needs: breaks
    runs-on: ubuntu-latest
    steps: [{run: echo never}]
""",
    "remarks.yml": r"""
name: Remarks
on: workflow_dispatch
jobs:
  say:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo "::error file=src/a.py,line=3,endLine=4,col=2,endColumn=9,title=Oh%2C dear%3A 100%25::it broke%0Abadly :: twice"
          echo "::warning::careful"
          echo "::notice title=By the way,file=b.py,line=7::all is %25 well"
          for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "::notice::$n"; done
      - run: exit 4
""",
    "slow.yml": """
name: Slow
on: workflow_dispatch
jobs:
  sleep:
    runs-on: ubuntu-latest
    steps:
      - name: Sleep
        run: echo started; sleep 60
      - name: Wake
        if: always()
        run: echo awake
""",
    "keep.yml": """
name: Keep
on: workflow_dispatch
jobs:
  keep:
    runs-on: ubuntu-latest
    strategy: {matrix: {part: [a, b]}}
    steps:
      - uses: actions/checkout@v4
      - run: mkdir -p out/deep && cp README.md out/ && echo ${{ matrix.part }} > out/deep/${{ matrix.part }}.txt
      - id: up
        uses: actions/upload-artifact@v4
        with:
          name: part-${{ matrix.part }}
          path: |
            out/**/*.txt
            out/README.md
            !out/deep/none.txt
          retention-days: 3
      - uses: actions/upload-artifact@v7
        with: {path: "out/deep/${{ matrix.part }}.txt", archive: false}
      - run: test -n "${{ steps.up.outputs.artifact-id }}"
      - uses: actions/upload-artifact@v4
        with: {name: nothing, path: nowhere/}
""",
    "poked.yml": """
name: Poked
run-name: "${{ github.event.client_payload.spell.key || 'none' }} [cast:${{ github.event.client_payload.cast_id }}]"
on:
  repository_dispatch:
    types: [poke]
jobs:
  answer:
    runs-on: ubuntu-latest
    steps: [{run: "echo ${{ github.event.action }}"}]
""",
    "poked-too.yaml": "on: {repository_dispatch: }\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n",
    "push.yml": "name: Push\non: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n",
    "broken.yml": "name: Broken\non: [workflow_dispatch\njobs:\n",
    "startup.yml": """
name: Startup
on: workflow_dispatch
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true', surprise: 1}]}}
""",
    "mac.yml": "on: workflow_dispatch\njobs: {a: {runs-on: macos-latest, steps: [{run: 'true'}]}}\n",
    "many.yml": "name: Many\non:\n  workflow_dispatch:\n    inputs: {"
    + ", ".join(f"i{n}: {{type: string}}" for n in range(25))
    + "}\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n",
}


def make_tree(root: Path, sample: Path) -> Path:
    """Fill a directory and make it a git repository with one commit, a tag and an ignored file."""
    directory = root / ".github" / "workflows"
    directory.mkdir(parents=True)
    for name, text in WORKFLOWS.items():
        (directory / name).write_text(text.lstrip())
    (directory / sample.name).write_text(sample.read_text(encoding="utf-8"), encoding="utf-8")
    (root / "README.md").write_text("read me\n")
    (root / ".gitignore").write_text(".env\n")
    (root / ".env").write_text("LEAKED=from-dot-env\n")
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root
