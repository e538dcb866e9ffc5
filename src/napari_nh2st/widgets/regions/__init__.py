"""The *Regions* tab: what the prediction says of drawn polygons."""
