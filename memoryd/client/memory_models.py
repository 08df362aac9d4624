"""What the service answers about long-term memory: the service's own schemas, by shorter names."""

from typing import Literal

from memoryd.http.schemas import common, knowledge_search, memories, recall

Kind = Literal["episodic", "semantic", "preference", "procedural"]
Found = Kind | Literal["knowledge"]

Source = common.SourceOut
Citation = knowledge_search.CitationOut
Explanation = recall.ExplainOut
Hit = recall.HitOut
Recall = recall.RecallOut
ContextItem = recall.ContextItemOut
Dropped = recall.DroppedOut
ChatMessage = recall.MessageOut
Context = recall.ContextOut
Written = memories.WrittenOut
Remembered = memories.RememberOut
Memory = memories.MemoryOut
Revision = memories.RevisionOut
MemoryPage = memories.MemoryPage
HistoryPage = memories.HistoryPage
