# Adds charge_cents, `cents`, as the last name of the JSON object on stdin; or ends with 1 if that is no object.
# The text is known to be JSON.
{ text = text (NR > 1 ? "\n" : "") $0 }
END {
  sub(/[ \t\r\n]+$/, "", text)
  if (text !~ /[}]$/) exit 1
  sub(/[ \t\r\n]*[}]$/, "", text)
  printf "%s%s\"charge_cents\": %s}\n", text, (text ~ /[{]$/ ? "" : ", "), cents
}
