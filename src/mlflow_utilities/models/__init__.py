"""Model objects: serialised, saved, cached and loaded.

`saving.save` and `loading.load` are the ways in; `flavors` is the only module that imports mlflow.
"""
