"""Editor of a section's role in the table of sections."""

from typing import Any

from qtpy.QtCore import QAbstractItemModel, QModelIndex
from qtpy.QtWidgets import (
    QComboBox,
    QWidget,
)

from napari_nh2st.session.section_rows import ROLES
from napari_nh2st.widgets.text_colors import TextDelegate


class RoleDelegate(TextDelegate):
    """A list of the roles as editor."""

    def createEditor(self, parent: QWidget | None, option: Any, index: QModelIndex) -> QWidget:
        """The list, which writes what is picked at once."""
        box = QComboBox(parent)
        box.addItems(list(ROLES))
        box.activated.connect(lambda: self.commitData.emit(box))
        box.activated.connect(lambda: self.closeEditor.emit(box))
        return box

    def setEditorData(self, editor: Any, index: QModelIndex) -> None:  # Qt's name
        """Show the role as it is."""
        editor.setCurrentText(str(index.data()))

    def setModelData(  # Qt's name
        self, editor: Any, model: QAbstractItemModel | None, index: QModelIndex
    ) -> None:
        """Take the role."""
        if model is not None:
            model.setData(index, editor.currentText())
