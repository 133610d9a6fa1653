"""Holds every example of an OpenAPI document to the schema beside it.

Argument: the document's address. Ends with the number of examples, or with those that do not fit.
"""

import json
import sys
import urllib.request

import jsonschema_rs

document = json.load(urllib.request.urlopen(sys.argv[1]))
components = {"components": document["components"]}
faults, checked = [], 0


def check(place, beside):
    global checked
    if "example" not in beside or "schema" not in beside:
        return
    checked += 1
    whole = {**components, **beside["schema"]}
    for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(beside["example"]):
        faults.append(f"{place}: {error.message}")


def bodies(place, holder):
    for media, content in holder.get("content", {}).items():
        check(f"{place} {media}", content)


for path, item in document["paths"].items():
    for method, operation in item.items():
        place = f"{method} {path}"
        bodies(f"{place} body", operation.get("requestBody", {}))
        for status, response in operation["responses"].items():
            bodies(f"{place} {status}", response)
        for parameter in operation.get("parameters", []):
            check(f"{place} {parameter['name']}", parameter)
for name, response in document["components"]["responses"].items():
    bodies(name, response)

if faults:
    sys.exit("\n".join(faults))
print(f"{checked} examples fit")
