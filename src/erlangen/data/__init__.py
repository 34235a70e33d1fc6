"""Data sets, views with known group parameters, and the one door to them: `load`."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "DynamicSignal": "erlangen.data.dynamic_signal:DynamicSignal",
    "Mesh": "erlangen.data.mesh:Mesh",
    "RotatedObjects": "erlangen.data.objects3d:RotatedObjects",
    "TintedObjects": "erlangen.data.tinted_objects:TintedObjects",
    "load_mesh": "erlangen.data.mesh:load_mesh",
    "render": "erlangen.data.renderer:render",
    "charged_particles": "erlangen.data.n_body:charged_particles",
    "ComposedFeatures": "erlangen.data.composed_features:ComposedFeatures",
    "FactoredTask": "erlangen.data.factored_task:FactoredTask",
    "ArrayDataset": "erlangen.data.array_dataset:ArrayDataset",
    "Crops": "erlangen.data.crops:Crops",
    "pairs": "erlangen.data.pairs",
    "PairGraph": "erlangen.data.pairs.pair_graph:PairGraph",
    "PairBatch": "erlangen.data.batch:PairBatch",
    "Views": "erlangen.data.views:Views",
    "graphs": "erlangen.data.graphs",
    "load": "erlangen.data.loading:load",
    "molecules": "erlangen.data.molecular_frames:molecules",
    "names": "erlangen.data.named:names",
    "solids": "erlangen.data.solids",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
