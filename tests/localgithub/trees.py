"""A working tree with workflows that are quick to run and show one thing each."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[2] / ".github" / "workflows" / "spell-execution-example.yml"

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
    "sparse.yml": """
name: Sparse
on: workflow_dispatch
jobs:
  look:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {sparse-checkout: own/action}
      - run: find . -type f | sort
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
          where=file=src/a.py,line=3,endLine=4,col=2,endColumn=9
          echo "::error $where,title=Oh%2C dear%3A 100%25::it broke%0Abadly :: twice"
          echo "::warning::careful"
          echo "::notice title=By the way,file=b.py,line=7::all is %25 well"
          echo "::warning file=b.py::no line"
          echo "::warning file=::no file"
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
jobs: {a: {uses: nobody/nothing/.github/workflows/none.yml@v1}}
""",
    "mac.yml": "on: workflow_dispatch\njobs: {a: {runs-on: macos-latest, steps: [{run: 'true'}]}}\n",
    "runners.yml": """
on: workflow_dispatch
jobs:
  each:
    name: each ${{ matrix.os }}
    runs-on: ${{ matrix.os }}
    strategy: {fail-fast: false, matrix: {os: [windows-latest, ubuntu-24.04, our-own], n: [1]}}
    steps: [{run: 'true'}]
  some:
    name: some ${{ matrix.n }}
    runs-on: ["${{ matrix.os }}"]
    strategy: {fail-fast: false, matrix: {include: [{n: 1, os: ubuntu-latest}, {n: 2}]}}
    steps: [{run: 'true'}, {if: always(), run: 'true'}]
  list:
    runs-on: ${{ fromJSON('["a", "b"]') }}
    steps: [{run: 'true'}]
  mac:
    runs-on: ${{ fromJSON('["a", "macOS-15"]') }}
    steps: [{run: 'true'}]
""",
    "many.yml": "name: Many\non:\n  workflow_dispatch:\n    inputs: {"
    + ", ".join(f"i{n}: {{type: string}}" for n in range(25))
    + "}\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n",
}
WORKFLOWS |= {
    "needs.yml": """
on: workflow_dispatch
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}
  test: {needs: biuld, runs-on: ubuntu-latest, steps: [{run: 'true'}]}
""",
    "calls-none.yml": "on: workflow_dispatch\njobs: {a: {uses: ./.github/workflows/none.yml}}\n",
    "called.yml": """
name: Called
on:
  workflow_call:
    inputs:
      who: {type: string}
      part: {type: string}
      given: {type: string}
    outputs:
      count: {value: "${{ jobs.inner.outputs.count }}"}
jobs:
  inner:
    name: Inner ${{ inputs.who }}
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2]}}
    outputs: {count: "${{ steps.say.outputs.count }}"}
    steps:
      - id: say
        name: Say
        env: {GIVEN: "${{ inputs.given }}"}
        run: |
          echo "${{ inputs.part }} ${{ matrix.n }} $GIVEN ${{ vars.COLOUR }} $GITHUB_JOB"
          echo count=1 >> "$GITHUB_OUTPUT"
""",
    "calls.yml": """
on: {workflow_dispatch: {inputs: {who: {type: string}}}}
jobs:
  first:
    name: First
    runs-on: ubuntu-latest
    outputs: {text: "${{ steps.x.outputs.text }}"}
    steps: [{id: x, run: "echo 'text=given output' >> $GITHUB_OUTPUT"}]
  many:
    name: Many
    needs: first
    strategy: {matrix: {part: [a, b]}}
    uses: ./.github/workflows/called.yml
    with: {who: "${{ inputs.who }}", part: "${{ matrix.part }}", given: "${{ needs.first.outputs.text }}"}
  after:
    needs: many
    runs-on: ubuntu-latest
    steps: [{run: "echo all ${{ needs.many.outputs.count }} output"}]
""",
    "too-long.yml": """
on: workflow_dispatch
jobs:
  long:
    runs-on: ubuntu-latest
    timeout-minutes: 1
    steps:
      - {name: Sleep, run: sleep 60}
      - {name: Never, run: echo never}
      - {name: Always, if: always(), run: echo always}
""",
    "too-long-beside.yml": """
on: workflow_dispatch
jobs:
  long:
    runs-on: ubuntu-latest
    timeout-minutes: ${{ fromJSON('1') }}
    steps:
      - {name: Sleep, run: sleep 60}
      - {name: Always, if: always(), run: echo always}
  beside:
    runs-on: ubuntu-latest
    steps: [{run: sleep 2.5}]
  later:
    needs: long
    runs-on: ubuntu-latest
    steps: [{run: echo later}]
""",
    "tidies.yml": """
on: workflow_dispatch
jobs:
  work:
    runs-on: ubuntu-latest
    steps: [{name: Sleep, run: sleep 60}]
  tidy:
    needs: work
    if: always()
    runs-on: ubuntu-latest
    steps:
      - {name: One, run: echo one}
      - {name: If failed, if: failure(), run: echo failed}
      - {name: Two, if: "${{ github.event_name == 'workflow_dispatch' }}", run: echo two}
  boast:
    needs: work
    runs-on: ubuntu-latest
    steps: [{run: echo done}]
  guard:
    if: ${{ always() }}
    runs-on: ubuntu-latest
    steps: [{run: sleep 2}, {run: echo guarded to the end}]
""",
    "lingers.yml": """
on:
  workflow_dispatch:
    inputs: {loops: {type: string}}
jobs:
  work:
    runs-on: ubuntu-latest
    steps:
      - {name: Background, run: "sleep 600 > /dev/null 2>&1 &"}
      - {name: Loop, run: "while ${{ inputs.loops }}; do sleep 0.1; done"}
""",
    "grouped.yml": """
on:
  workflow_dispatch:
    inputs: {group: {type: string}, over: {type: string}, seconds: {type: string, default: '30'}}
concurrency:
  group: group-${{ inputs.group }}
  cancel-in-progress: ${{ inputs.over == 'true' }}
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: "sleep ${{ inputs.seconds }}"}]
""",
    "grouped-jobs.yml": """
on: {workflow_dispatch: {inputs: {seconds: {type: string}}}}
jobs:
  free:
    runs-on: ubuntu-latest
    steps: [{run: 'true'}]
  grouped:
    runs-on: ubuntu-latest
    concurrency: jobs-of-${{ github.ref_name }}
    steps: [{name: Work, run: "sleep ${{ inputs.seconds }}"}, {name: Tidy, if: always(), run: echo tidied}]
""",
    "grouped-matrix.yml": """
on: {workflow_dispatch: {inputs: {seconds: {type: string}}}}
concurrency: {group: of-a-matrix, cancel-in-progress: true}
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2]}}
    steps: [{name: Work, run: "sleep ${{ inputs.seconds }}"}]
""",
    "names.yml": """
on: {workflow_dispatch: {inputs: {spell_key: {type: string}}}}
env: {TOP: of all}
jobs:
  one:
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [7]}}
    env: {OWN: of job}
    outputs: {said: "${{ steps.say.outputs.said }}"}
    steps:
      - {id: say, name: "step ${{ inputs.spell_key }} ${{ github.run_number }}", run: "echo said=it >> $GITHUB_OUTPUT"}
      - run: |

          echo "n=${{ matrix.n }} ${{ env.TOP }} ${{ env.OWN }}"
          echo more
      - {name: "said ${{ steps.say.outputs.said }}, ${{ secrets.PASSWORD }}", run: 'true'}
      - {name: "left out ${{ inputs.spell_key }}", if: false, run: 'true'}
      - {name: "no JSON ${{ fromJSON('{') }}", run: 'true'}
      - {name: Plain, run: "echo ${{ matrix.n }}"}
  two:
    needs: one
    if: always()
    runs-on: ubuntu-latest
    steps: [{name: "told ${{ needs.one.outputs.said }}", run: 'true'}]
""",
    "matrix.yml": """
on: {workflow_dispatch: {inputs: {fast: {type: boolean, default: true}}}}
jobs:
  build:
    runs-on: ubuntu-latest
    strategy:
      fail-fast: ${{ inputs.fast }}
      matrix: {os: [good, bad], n: [1]}
    steps:
      - {name: Forgiven, continue-on-error: true, run: exit 7}
      - name: Work
        # The bad one fails once the good one is at work, also on a busy machine.
        run: if [ ${{ matrix.os }} = bad ]; then sleep 3; exit 3; else sleep ${{ inputs.fast && 30 || 1 }}; fi
""",
    "deadlock.yml": """
on: workflow_dispatch
concurrency: knot
jobs: {a: {runs-on: ubuntu-latest, concurrency: Knot, steps: [{run: 'true'}]}}
""",
    "secretive.yml": r"""
on: workflow_dispatch
jobs:
  tell:
    runs-on: ubuntu-latest
    steps:
      - env: {PASSWORD: "${{ secrets.PASSWORD }}"}
        run: |
          echo "secret: $PASSWORD"
          echo "colour ${{ vars.COLOUR }} length ${#PASSWORD}"
          echo "::error::told: ${PASSWORD%%$'\n'*}"
          echo "::add-mask::whis""pered"
          echo "masked: whis""pered"
          test -n "${{ secrets.GITHUB_TOKEN }}"
          env | sort
          test -z "$(printenv COLOUR)"
""",
    "usual.yml": """
on: workflow_dispatch
jobs:
  make:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: ./own/action
      - run: echo two > two.txt
      - {uses: Actions/Upload-Artifact@v6.1, with: {name: two, path: two.txt}}
  take:
    needs: make
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@main, with: {name: made, path: got}}
      - run: echo "downloaded $(cat got/made.txt)"
      - {uses: actions/download-artifact@v4, with: {path: every, merge-multiple: true}}
      - run: |
          test -f every/made.txt && echo "all: merged, $(cat every/two.txt)"
      - {uses: actions/download-artifact@v4, with: {pattern: 't*', path: some}}
      - run: test -f some/two/two.txt
  script:
    runs-on: ubuntu-latest
    steps:
      - id: s
        uses: actions/github-script@v8
        with:
          script: |
            core.warning("from the script");
            const { data, status } = await github.request("GET /repos/{owner}/{repo}", context.repo);
            console.log("status " + status, data.full_name);
            const out = await exec.getExecOutput("expr", ["1", "+", "1"], { silent: true });
            console.log(`script saw ${context.repo.repo} and ${out.stdout.trim()}`);
            return { a: [1, "é"] };
      - {run: 'echo "result: $R"', env: {R: "${{ steps.s.outputs.result }}"}}
  tools:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/setup-python@v6, id: py, with: {python-version: '2.4'}}
      - run: |
          pip --version
          python -c "import sys; print('own python', sys.prefix in '${{ steps.py.outputs.python-path }}')"
      - {uses: actions/setup-node@v5, id: node, with: {node-version: lts/*}}
      - run: node --version && test -n "${{ steps.node.outputs.node-version }}"
  fetched:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - {uses: octo/hello@v1, id: hello}
      - run: echo "said=${{ steps.hello.outputs.said }}"
      - {uses: octo/script@v1, with: {who: you}}
      - {uses: actions/checkout@v4, with: {repository: octo/hello, ref: v1, path: other}}
      - run: test -f other/action.yml && test -f README.md
      - {uses: actions/checkout@v4, with: {ref: main, path: again}}
      - run: test -f again/README.md
  served:
    runs-on: ubuntu-latest
    steps:
      - {uses: Octo-Org/spells/own/served@v1, id: tag, with: {who: someone}}
      - uses: actions/checkout@v4
      - {uses: ./own/served, id: tree, with: {who: you, loud: true}}
      - run: echo "outputs ${{ steps.tag.outputs.said }}, ${{ steps.tree.outputs.said }}"
""",
    "python.yml": """
on: workflow_dispatch
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/setup-python@v6, with: {python-version: '3.99'}}
      - run: python -c "print('it', 'runs')"
""",
    "caches.yml": """
on: workflow_dispatch
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - {id: c, uses: actions/cache@v4, with: {path: kept, key: the-key}}
      - name: Look
        run: |
          echo "hit: ${{ steps.c.outputs.cache-hit }}, $(cat kept/file || echo none)"
          mkdir -p kept; echo kept > kept/file
      - {uses: actions/cache/restore@v3, with: {path: elsewhere, key: no, restore-keys: the}}
""",
    "unrunnable.yml": """
on: workflow_dispatch
jobs:
  missing: {runs-on: ubuntu-latest, steps: [{uses: nobody/nothing@v1}, {name: Never, if: always(), run: 'true'}]}
  version: {runs-on: ubuntu-latest, steps: [{uses: octo/hello@v7}, {name: Never, if: always(), run: 'true'}]}
  nested: {runs-on: ubuntu-latest, steps: [{uses: actions/checkout@v4}, {uses: ./own/nested}]}
  empty: {runs-on: ubuntu-latest, steps: [{uses: octo/empty@v1}]}
  whale: {runs-on: ubuntu-latest, steps: [{uses: octo/whale@v1}]}
  image: {runs-on: ubuntu-latest, steps: [{uses: 'docker://alpine:3.20'}]}
  container: {runs-on: ubuntu-latest, container: 'node:20', steps: [{name: Never, run: 'true'}]}
  services: {runs-on: ubuntu-latest, services: {db: {image: postgres}}, steps: [{name: Never, run: 'true'}]}
  no-version: {runs-on: ubuntu-latest, steps: [{uses: octo-org/spells/own/served@v9}]}
  other-ref: {runs-on: ubuntu-latest, steps: [{uses: actions/checkout@v4, with: {ref: v0}}]}
  no-folder: {runs-on: ubuntu-latest, steps: [{uses: ./nowhere}]}
""",
    "typed.yml": """
name: Typed
on:
  workflow_dispatch:
    inputs:
      where: {type: environment}
      count: {type: number, default: 3}
      wild: {type: boolean, default: true}
      kind: {type: choice, options: [one, 'two words', 3]}
      said: {required: true, default: ''}
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - env: {ALL: "${{ toJSON(inputs) }}", EVENT: "${{ toJSON(github.event.inputs) }}"}
        run: |
          echo "inputs: $(echo $ALL)"
          echo "event: $(echo $EVENT)"
          echo "wild: ${{ inputs.wild && 'yes' || 'no' }}, less: ${{ inputs.count < 2 && 'yes' || 'no' }}"
""",
    "nightly.yml": "on: {schedule: [{cron: '0 3 * * *'}]}\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: x}]}}\n",
    "unreachable.yml": "on: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{uses: octo/distant@v1}]}}\n",
}
OWN_ACTION = """
name: Own
runs:
  using: composite
  steps:
    - {run: echo made by composite > made.txt, shell: bash}
    - {uses: actions/upload-artifact@v3, with: {name: made, path: made.txt}}
"""
NESTED_ACTION = "name: Nested\nruns: {using: composite, steps: [{uses: nobody/nested@v1}]}\n"


SERVED_ACTION = """
name: Served
inputs: {who: {required: true}, loud: {default: 'false'}}
outputs: {said: {value: "${{ steps.say.outputs.said }}"}}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      run: echo "said=hello ${{ inputs.who }} of the $(cat "${{ github.action_path }}/word.txt")" >> "$GITHUB_OUTPUT"
    - {if: "inputs.loud == 'true'", shell: bash, run: echo LOUD}
    - uses: actions/upload-artifact@v4
      with: {name: "of-${{ inputs.who }}", path: "${{ github.action_path }}/word.txt"}
"""


def git(tree: Path, *arguments: str) -> str:
    """Run git as somebody; return what it says."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(tree), *who, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


ODD_TEXT = "\"double\" 'single' $(touch pwned) `touch pwned` ${HOME} %25 %0A \\ é 🧙 ::error::no"
HAND_BACK = {  # by the artifact's name: what the action is given
    "json": {"output": json.dumps({"text": ODD_TEXT}, ensure_ascii=False), "summary": f"# {ODD_TEXT}\n\n- two\n"},
    "values": {"values": f"text={ODD_TEXT}\n\n  tab = a\tb\r\nempty="},
    "file": {
        "output-file": "made/large.json",
        "summary-file": "made/a file.md",
        "files": "made/a file.md\nmade/deep\n-n",
    },
    "files": {"files": "made/deep/one.bin"},
    "summary": {"summary": "x" * 70_000, "output": "1"},
    "charged": {"output": '{"a": {}}\n', "charge-cents": "42"},
}
REFUSED = {  # by what is told
    "The output is not JSON: line 1": {"output": "{a: 1}"},
    "The output is not JSON: a bracket": {"output": '{"a": 1,}'},
    "The output is not JSON: it is empty.": {"output-file": "made/empty"},
    "The output has 1000003 bytes, and 262144 are read.": {"output-file": "made/huge.json"},
    "output-file: there is no file $(touch pwned)%25.": {"output-file": "$(touch pwned)%"},
    "files: there is no nowhere.": {"output": "1", "files": "nowhere"},
    "files: there are two of the name a file.md.": {"files": "made/a file.md\nmade/a file.md"},
    "files: name the file or folder itself, not made/deep/..": {"files": "made/deep/.."},
    "values: line 2 is not name=value.": {"values": "a=1\nb"},
    "values: a is there twice.": {"values": "a=1\na=2"},
    "Give one of output, output-file and values, not several.": {"output": "1", "values": "a=1"},
    "Give summary or summary-file, not both.": {"summary": "a", "summary-file": "b"},
    "charge-cents: write a whole number of cents, such as 42, not 4.5.": {"output": "{}", "charge-cents": "4.5"},
    "charge-cents: the output is no JSON object": {"output": "[{}]", "charge-cents": "42"},
    "There is nothing to hand back": {},
}
MAKE_FILES = """
import json, pathlib
pathlib.Path("made/deep").mkdir(parents=True)
pathlib.Path("made/large.json").write_text(json.dumps(["é" * 100] * 1200, ensure_ascii=False), encoding="utf-8")
pathlib.Path("made/huge.json").write_text(json.dumps("x" * 1_000_000) + " ")
pathlib.Path("made/empty").write_text("")
pathlib.Path("made/a file.md").write_text("# From a file\\n")
pathlib.Path("made/deep/one.bin").write_bytes(bytes(range(256)) * 4000)
pathlib.Path("-n").write_text("a dash")
"""


def hand_back() -> str:
    """Return a workflow that uses the action spell-output in every way, each refused use in a step that may fail."""
    uses = {"uses": "./.github/actions/spell-output"}
    steps: list[dict[str, Any]] = [{"uses": "actions/checkout@v4"}, {"shell": "python3 {0}", "run": MAKE_FILES}]
    steps += [uses | {"with": {"name": name, **given}} for name, given in HAND_BACK.items()]
    steps += [uses | {"with": {"name": "bad", **given}, "continue-on-error": True} for given in REFUSED.values()]
    steps.append({"run": 'test ! -e pwned && cat "$GITHUB_STEP_SUMMARY" | wc -c'})
    jobs = {"one": {"runs-on": "ubuntu-latest", "steps": steps}}
    return json.dumps({"name": "Hand back", "on": "workflow_dispatch", "jobs": jobs}, ensure_ascii=False)


def make_tree(root: Path, sample: Path) -> Path:
    """Fill a directory and make it a git repository with one commit, a tag and an ignored file."""
    directory = root / ".github" / "workflows"
    directory.mkdir(parents=True)
    for name, text in WORKFLOWS.items():
        (directory / name).write_text(text.lstrip())
    (directory / "hand-back.yml").write_text(hand_back(), encoding="utf-8")
    (directory / sample.name).write_text(sample.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copytree(sample.parents[1] / "actions", root / ".github" / "actions")
    for name, text in {"action": OWN_ACTION, "nested": NESTED_ACTION, "served": SERVED_ACTION}.items():
        (root / "own" / name).mkdir(parents=True)
        (root / "own" / name / "action.yml").write_text(text.lstrip())
    (root / "own" / "served" / "word.txt").write_text("tag\n")
    (root / "README.md").write_text("read me\n")
    (root / ".gitignore").write_text(".env\n")
    (root / ".env").write_text("LEAKED=from-dot-env\n")
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    (root / "own" / "served" / "word.txt").write_text("tree\n")  # not committed
    return root


def make_actions(root: Path) -> Path:
    """Make what stands for github.com where actions are fetched: repositories with one version each."""
    files = {
        "octo/hello/action.yml": """
name: Hello
inputs: {who: {default: world}}
outputs: {said: {value: "${{ steps.say.outputs.said }}"}}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      run: echo "hello $WHO"; echo "said=hello $WHO" >> "$GITHUB_OUTPUT"
      env: {WHO: "${{ inputs.who }}"}
    - {uses: actions/upload-artifact@v9, with: {name: from-hello, path: README.md}}
""",
        "octo/whale/action.yml": "name: Whale\nruns: {using: docker, image: Dockerfile}\n",
        "octo/script/action.yml": "name: JS\nruns: {using: node20, main: index.js}\ninputs: {who: {default: me}}\n",
        "octo/script/index.js": "console.log('node says hello ' + process.env.INPUT_WHO)\n",
        "octo/empty/README.md": "nothing\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text.lstrip())
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for folder in {path.rsplit("/", 1)[0] for path in files}:
        for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-qm", "first"], ["tag", "v1"]):
            subprocess.run(["git", "-C", str(root / folder), *command], check=True)
    return root
