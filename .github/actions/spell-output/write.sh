# Writes result.json, summary.md and other files into a folder of their own, for the next step to upload.
# POSIX sh and awk alone. Everything comes from the environment, and is only ever expanded within quotes.
set -eu
LC_ALL=C # awk counts and matches bytes
export LC_ALL
here=$(dirname "$0")
most_output=262144 # bytes; what Spell Platform reads
most_summary=65536

escaped() { printf '%s' "$1" | tr '\r\n' '  ' | sed 's/%/%25/g'; }
fail() {
  echo "::error title=spell-output::$(escaped "$1")"
  exit 1
}
size() { wc -c <"$1" | tr -d ' '; }

folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/spell-output.XXXXXX")
result=$folder/result.json
summary=$folder/summary.md

given=0
for one in "${SPELL_OUTPUT:-}" "${SPELL_OUTPUT_FILE:-}" "${SPELL_VALUES:-}"; do
  [ -z "$one" ] || given=$((given + 1))
done
[ "$given" -le 1 ] || fail "Give one of output, output-file and values, not several."
if [ -n "${SPELL_SUMMARY:-}" ] && [ -n "${SPELL_SUMMARY_FILE:-}" ]; then
  fail "Give summary or summary-file, not both."
fi

if [ -n "${SPELL_OUTPUT:-}" ]; then
  printf '%s\n' "$SPELL_OUTPUT" >"$result"
elif [ -n "${SPELL_OUTPUT_FILE:-}" ]; then
  [ -f "$SPELL_OUTPUT_FILE" ] || fail "output-file: there is no file $SPELL_OUTPUT_FILE."
  cat <"$SPELL_OUTPUT_FILE" >"$result"
elif [ -n "${SPELL_VALUES:-}" ]; then
  why=$(awk -f "$here/values.awk" -v result="$result" </dev/null) || fail "values: $why"
fi
if [ -f "$result" ]; then
  [ "$(size "$result")" -le "$most_output" ] ||
    fail "The output has $(size "$result") bytes, and $most_output are read. Hand bulk back in files."
  why=$(awk -f "$here/json.awk" "$result") || fail "The output is not JSON: $why"
fi
if [ -n "${SPELL_CHARGE_CENTS:-}" ]; then
  case $SPELL_CHARGE_CENTS in
    *[!0-9]* | 0?*) fail "charge-cents: write a whole number of cents, such as 42, not $SPELL_CHARGE_CENTS." ;;
  esac
  [ -f "$result" ] || echo "{}" >"$result"
  awk -f "$here/charge.awk" -v cents="$SPELL_CHARGE_CENTS" <"$result" >"$folder.charged" ||
    fail "charge-cents: the output is no JSON object, so it has no place for it."
  mv "$folder.charged" "$result"
  [ "$(size "$result")" -le "$most_output" ] || fail "The output with charge-cents is larger than $most_output bytes."
fi

if [ -n "${SPELL_SUMMARY:-}" ]; then
  printf '%s\n' "$SPELL_SUMMARY" >"$summary"
elif [ -n "${SPELL_SUMMARY_FILE:-}" ]; then
  [ -f "$SPELL_SUMMARY_FILE" ] || fail "summary-file: there is no file $SPELL_SUMMARY_FILE."
  cat <"$SPELL_SUMMARY_FILE" >"$summary"
fi
if [ -f "$summary" ]; then
  if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    { cat "$summary" && echo; } >>"$GITHUB_STEP_SUMMARY"
  fi
  if [ "$(size "$summary")" -gt "$most_summary" ]; then
    echo "::warning title=spell-output::The summary has more than $most_summary bytes: it is on this run's page alone."
    rm "$summary"
  fi
fi

if [ -n "${SPELL_FILES:-}" ]; then
  return=$(printf '\r')
  while IFS= read -r path; do
    path=${path%"$return"}
    [ -n "$path" ] || continue
    [ -e "$path" ] || fail "files: there is no $path."
    name=$(basename -- "$path")
    case $name in . | .. | /) fail "files: name the file or folder itself, not $path." ;; esac
    [ ! -e "$folder/$name" ] || fail "files: there are two of the name $name."
    cp -RL -- "$path" "$folder/$name" || fail "files: $path can't be copied."
  done <<END_OF_FILES
$SPELL_FILES
END_OF_FILES
fi

[ -n "$(ls -A "$folder")" ] || fail "There is nothing to hand back: give output, output-file, values, charge-cents, summary or files."
echo "folder=$folder" >>"$GITHUB_OUTPUT"
